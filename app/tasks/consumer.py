"""Celery's consumer without its delayed delivery: no job of ours is delayed, and it would make 28 queues."""

from celery.worker.consumer import Consumer

_STEPS = [step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in str(step)]


class JobConsumer(Consumer):
    """Takes jobs as they come."""

    Blueprint = type("Blueprint", (Consumer.Blueprint,), {"default_steps": _STEPS})
