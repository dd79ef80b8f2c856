"""What routes ask for by type: the container, the caller, limits."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.bootstrap import Container


def container_of(connection: HTTPConnection) -> Container:
    """The running process's parts."""
    container: Container = connection.app.state.container
    return container


ContainerDep = Annotated[Container, Depends(container_of)]
