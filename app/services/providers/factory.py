"""The trading providers of this process, by name."""

from collections.abc import Mapping

from app.domain.errors import Unavailable
from app.services.providers.base import BaseTradingProvider


class ProviderFactory:
    """Hands out the adapters that the composition root has built."""

    def __init__(self, providers: Mapping[str, BaseTradingProvider]) -> None:
        self._providers = dict(providers)

    async def get_provider(self, provider_name: str) -> BaseTradingProvider:
        """The adapter of a venue; Unavailable for one that this process was not set up for."""
        provider = self._providers.get(provider_name)
        if provider is None:
            raise Unavailable(
                f"The venue {provider_name} is not set up here.", code="PROVIDER_UNAVAILABLE", provider=provider_name
            )
        return provider

    @property
    def names(self) -> set[str]:
        """The venues that are set up."""
        return set(self._providers)
