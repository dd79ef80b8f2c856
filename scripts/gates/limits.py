"""How large, how branched and how bare the product may be: the limits, and what breaks them."""

from collections.abc import Iterator

from scripts.gates.measures import Figure, Measures
from scripts.gates.source import Breach

WORST_SHOWN = 3


def check_limits(app: Measures, tests: Measures) -> Iterator[Breach]:
    """Every limit that the product's files, or the test functions, break."""
    yield from spread("module-lines", app.of("module-lines"), p90=260, most=400)
    yield from spread("function-lines", app.of("function-lines"), p50=9, p90=30, most=60)
    yield from spread("class-methods", app.of("class-methods"), most=18)
    yield from spread("complexity", app.of("complexity"), p90=5, most=12)
    yield from spread("nesting", app.of("nesting"), most=4)
    yield from spread("parameters", app.of("parameters"), p90=5)
    yield from spread("untyped-slots", app.of("untyped-slots"), most=0)
    yield from share("module-documented", app.of("module-documented"), least=90)
    yield from share("class-documented", app.of("class-documented"), least=80)
    yield from share("function-documented", app.of("function-documented"), least=60)
    yield from rare("forwarding", [f for f in app.of("forwarding") if f.value], len(app.of("forwarding")), per_cent=2)
    yield from rare("any", app.of("any"), app.code_lines, per_cent=1)
    yield from rare("broad-except", app.of("broad-except"), app.code_lines, per_cent=0.07)
    yield from rare("type-ignore", app.of("type-ignore"), app.code_lines, per_cent=0.15)
    yield from rare("noqa", app.of("noqa"), app.code_lines, per_cent=0.1)
    cases = [figure for figure in tests.of("function-lines") if figure.name.rpartition(".")[2].startswith("test")]
    yield from spread("test-function-lines", cases, p90=40)


def spread(
    rule: str, figures: list[Figure], *, p50: int | None = None, p90: int | None = None, most: int | None = None
) -> Iterator[Breach]:
    """Hold the median and the 90th percentile (nearest rank) over all figures, and each single one."""
    ordered = sorted(figures, key=lambda figure: figure.value)
    if not ordered:
        return
    for share_of, limit in ((50, p50), (90, p90)):
        reached = ordered[-(-len(ordered) * share_of // 100) - 1].value
        if limit is not None and reached > limit:
            for figure in ordered[: -WORST_SHOWN - 1 : -1]:
                yield _breach(
                    figure, f"{rule}-p{share_of}", f"{figure.value}; {share_of} % must keep {limit}, is {reached}"
                )
    for figure in figures:
        if most is not None and figure.value > most:
            yield _breach(figure, rule, f"{figure.value}, at most {most}")


def share(rule: str, figures: list[Figure], *, least: int) -> Iterator[Breach]:
    """Hold the share of figures that are true."""
    missing = [figure for figure in figures if not figure.value]
    reached = 100 - 100 * len(missing) / max(len(figures), 1)
    if reached < least:
        for figure in missing[:WORST_SHOWN]:
            yield _breach(figure, rule, f"not documented; {reached:.1f} % are, at least {least} % must be")


def rare(rule: str, figures: list[Figure], whole: int, *, per_cent: float) -> Iterator[Breach]:
    """Hold how often something occurs, as a percentage of code lines or of functions."""
    reached = 100 * len(figures) / max(whole, 1)
    if reached > per_cent:
        for figure in figures[:WORST_SHOWN]:
            yield _breach(figure, rule, f"one of {len(figures)}, {reached:.2f} % of {whole}, at most {per_cent} %")


def _breach(figure: Figure, rule: str, sentence: str) -> Breach:
    return Breach(figure.path, figure.line, rule, f"{figure.name}: {sentence}")
