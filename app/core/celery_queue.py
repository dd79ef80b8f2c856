"""The queue on RabbitMQ: jobs as Celery's messages, done by workers."""

import asyncio
from contextlib import suppress

from amqp.exceptions import AMQPError
from celery import Celery
from kombu import Exchange
from kombu import Queue as Declaration
from kombu.exceptions import KombuError

from app.core.clock import Clock
from app.core.metrics import JOBS_DROPPED
from app.core.outage import Outage, Resting
from app.core.queue import JOB_TASK, Arguments, Backlog, Do

# A job that kills its worker each time is put aside after so many deliveries.
MOST_DELIVERIES = 5
CONNECT_SECONDS = 3
BROKER_FAILURES = (KombuError, AMQPError, OSError, TimeoutError)


def make_celery(broker_url: str, queue: str) -> Celery:
    """A Celery application that knows our one queue: no results, no delays, nothing but JSON."""
    app = Celery("marqetfi", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[_durable(queue, dead=_dead(queue))],
        task_default_queue=queue,
        task_default_exchange=queue,
        task_default_exchange_type="topic",
        task_default_routing_key=queue,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_consumer="app.tasks.consumer:JobConsumer",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=CONNECT_SECONDS,
        # A publisher that finds no broker says so soon; workers wait for it as long as it takes.
        broker_transport_options={"confirm_publish": True, "max_retries": 1, "interval_start": 0, "interval_max": 0},
        enable_utc=True,
    )
    return app


def declare(app: Celery, queue: str) -> None:
    """Make the queue, and the one for what is put aside, where they are not there yet."""
    with app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
        for declaration in (_durable(_dead(queue)), _durable(queue, dead=_dead(queue))):
            declaration(connection.default_channel).declare()


class CeleryQueue:
    """Jobs are published in the background; one that cannot be is dropped, and what it was about is found by sweeps."""

    def __init__(self, app: Celery, clock: Clock) -> None:
        self._app = app
        self._backlog = Backlog()
        self._outage = Outage("RabbitMQ", clock, "jobs are left to sweeps", BROKER_FAILURES)

    def enqueue(self, name: str, **arguments: object) -> None:
        """Ask for a job."""
        self._backlog.put(name, arguments)

    async def run(self, do: Do) -> None:
        """Publish jobs until cancelled; `do` is for workers. A broker that is not there is told of at once."""
        with suppress(Resting), self._outage.noticed():
            await self.ping()
        while True:
            name, arguments = await self._backlog.take()
            try:
                with self._outage.noticed():
                    await asyncio.to_thread(self._publish, name, arguments)
            except Resting:
                JOBS_DROPPED.labels(name).inc()

    async def ping(self) -> None:
        """Return when RabbitMQ answers."""
        await asyncio.to_thread(self._connect)

    def _publish(self, name: str, arguments: Arguments) -> None:
        self._app.send_task(JOB_TASK, kwargs={"name": name, "arguments": arguments}, retry=False)

    def _connect(self) -> None:
        with self._app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS)


def _dead(queue: str) -> str:
    return f"{queue}.dead"


def _durable(name: str, *, dead: str | None = None) -> Declaration:
    """A quorum queue; what is delivered too often goes to the one that is called `dead`."""
    arguments: dict[str, object] = {"x-queue-type": "quorum"}
    if dead is not None:
        arguments |= {
            "x-delivery-limit": MOST_DELIVERIES,
            "x-dead-letter-exchange": dead,
            "x-dead-letter-routing-key": dead,
        }
    return Declaration(name, Exchange(name, type="topic"), routing_key=name, queue_arguments=arguments)
