"""One file a contender, each run as a process: `python -m benchmarks.contenders.<name> publish|consume|serve`.

`publish` publishes BENCH_MESSAGES messages with the system's own publisher and ends; `consume` handles what is in
BENCH_QUEUES until SIGTERM; `serve` does so with HTTP on BENCH_PORT beside it, or has HTTP alone without BENCH_QUEUES.
What they report is in `workload.py`. A setting that makes a contender safe names the page of documentation it is from.
"""

TITLES = {
    "faststream_rabbit": "FastStream",
    "template": "this template",
    "bare": "aio-pika, bare",
    "taskiq_worker": "Taskiq",
    "celery_worker": "Celery",
    "dramatiq_worker": "Dramatiq",
}
BASE = "faststream_rabbit"
"""The one that ratios are to."""

DISTRIBUTIONS = [
    *(
        "aio-pika",
        "aiormq",
        "celery",
        "dramatiq",
        "fastapi",
        "faststream",
        "faststream-fastapi",
        "kombu",
        "pika",
        "pydantic",
    ),
    *("httptools", "taskiq", "taskiq-aio-pika", "uvicorn", "uvloop"),
]
"""Whose versions are told."""
