"""What the garbage collector need not look at again and again."""

import gc

# New objects before the young are looked through. Hundreds of requests under way at a time are some 50 each, which live
# until they are answered: looked through after every 700, they took a quarter of the time of webhook deliveries.
YOUNG = 20_000


def spare_what_lives() -> None:
    """Have the collector pass over everything that exists now: modules and classes live as long as the process.

    They are some 200,000 objects, and a full collection looks at each: under load that was a third of the processor
    time of webhook deliveries. What is under way is looked at more rarely. Call it once, when all is loaded.
    """
    gc.freeze()
    _, middle, old = gc.get_threshold()
    gc.set_threshold(YOUNG, middle, old)
