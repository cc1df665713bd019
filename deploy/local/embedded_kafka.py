"""The Kafka protocol without Java: the broker inside the PyPI package `noida-db`.

For trying out only: it keeps everything in memory and writes it to disk now and then, so a
`kill -9` loses recent records, and it does not implement all of Kafka.
"""

from importlib.util import find_spec
from pathlib import Path

from deploy.local.process import Server, StackError
from deploy.local.waiting import LOOPBACK, kept_port

WARNING = (
    "the embedded broker (noida-db) stands in for Apache Kafka: for trying out only, "
    "it loses recent records when it is killed"
)


def server(directory: Path) -> tuple[Server, int]:
    """Returns the broker with its data in `directory`, and its client port."""
    package = find_spec("noida_db")
    if package is None or package.origin is None:
        raise StackError("no embedded broker: run `make setup` (it installs noida-db)")
    binary = Path(package.origin).with_name("noida-db")
    directory.mkdir(parents=True, exist_ok=True)
    port = kept_port(directory / "port")
    data = directory.absolute() / "data"
    command = [str(binary), "start", "--only", "kafka", "--host", LOOPBACK]
    command += ["--kafka-port", str(port), "--data-dir", str(data)]
    return Server("embedded-kafka", command, directory, data, {"HOME": str(directory)}), port
