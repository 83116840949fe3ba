"""Runs the real supervisor over fake children: `python run_supervisor.py FOLDER WORKERS`; prints its port when all serve."""

import os
import sys
from pathlib import Path

from canary.app.children import Spec
from canary.app.listeners import bind
from canary.app.stopping import Role
from canary.app.supervisor import Supervisor
from canary.telemetry.lines import setup_lines

ROOT = Path(__file__).parents[2]


def main(folder: Path, workers: int) -> int:
    """Workers, a courier and a controller, all fake."""
    setup_lines("supervisor")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def spec(name: str, role: Role) -> Spec:
        listen = "{listen}" if role is Role.WORKER else "-"
        return Spec(
            name=name,
            role=role,
            module="tests.support.fake_child",
            arguments=("{control}", listen, name, str(folder)),
            environment=environment,
        )

    listeners = bind("127.0.0.1:0", workers)
    specs = [spec(f"worker-{n}", Role.WORKER) for n in range(workers)]
    specs += [spec("courier", Role.COURIER), spec("controller", Role.CONTROLLER)]
    said: list[int] = []

    def say_port_once(_now: float, all_ready: bool) -> bool:
        if all_ready and not said:
            said.append(listeners[0].getsockname()[1])
            print(said[0], flush=True)
        return not said

    supervisor = Supervisor(
        specs,
        listeners,
        status=folder / "run" / "supervisor.json",
        drain_s=1.0,
        watch=say_port_once,
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
