"""The order of a stop."""

from canary.app.stopping import Role, first_step, next_step

ALL = set(Role)


def test_workers_are_asked_first_and_waited_for() -> None:
    step = first_step(now=0.0, drain_s=30.0)
    assert (step.role, step.ask) == (Role.WORKER, True)
    step = next_step(step, now=29.9, living=ALL)
    assert (step.role, step.ask, step.kill) == (Role.WORKER, False, False)


def test_a_late_worker_is_killed_and_the_courier_waits_until_it_is_gone() -> None:
    step = next_step(first_step(now=0.0, drain_s=30.0), now=30.0, living=ALL)
    assert (step.role, step.kill) == (Role.WORKER, True)
    step = next_step(step, now=30.1, living={Role.COURIER, Role.CONTROLLER})
    assert (step.role, step.ask, step.deadline) == (Role.COURIER, True, 40.1)


def test_each_role_in_order_then_the_end() -> None:
    seen = []
    step, living = first_step(now=0.0, drain_s=30.0), set(ALL)
    while step.role is not None:
        seen.append(step.role)
        living.discard(step.role)
        step = next_step(step, now=1.0, living=living)
    assert seen == [Role.WORKER, Role.COURIER, Role.CONTROLLER]
    assert next_step(step, now=2.0, living=set()) == step


def test_roles_that_are_not_there_are_passed_over() -> None:
    step = next_step(first_step(now=0.0, drain_s=30.0), now=0.0, living={Role.CONTROLLER})
    assert (step.role, step.ask, step.deadline) == (Role.CONTROLLER, True, 5.0)
