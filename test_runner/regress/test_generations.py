"""Who may delete: generations, the control plane, and the deletion queue."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fixtures.common import wait_until
from fixtures.control_plane import ControlPlane
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import Endpoint, NeonEnv, NeonEnvBuilder, NeonPageserver, pid_is_alive
from fixtures.remote_storage import Store, check_that_indexed_objects_exist

# Many small layers, replaced by others all the time.
BUSY = {
    "checkpoint_distance": "262144",
    "compaction_target_size": "262144",
    "compaction_threshold": "2",
    "compaction_period": "1s",
}


def start(builder: NeonEnvBuilder, plane: ControlPlane, **config: Any) -> NeonEnv:
    builder.control_plane = plane
    builder.tenant_config = dict(BUSY)
    builder.pageserver_config = config
    return builder.init_start()


def attach(env: NeonEnv, node: NeonPageserver, generation: int, mode: str = "AttachedSingle") -> None:
    options = {name: int(value) if value.isdigit() else value for name, value in BUSY.items()}
    body = {"mode": mode, "generation": generation, "tenant_conf": options}
    node.http().location_config(env.initial_tenant, body)


def wait_for_deletions(node: NeonPageserver, counter: str, more_than: int = 0) -> None:
    def check() -> None:
        node.http().deletion_queue_flush()
        counts = node.http().deletion_queue()
        assert counts[counter] > more_than, counts

    wait_until(check, timeout_s=60)


def replace_layers(env: NeonEnv, node: NeonPageserver, endpoint: Endpoint) -> None:
    """Writes and compacts until layers were handed over for deletion."""
    before = node.http().deletion_queue()["submitted"]

    def check() -> None:
        endpoint.sql("UPDATE churn SET n = n + 1")
        lsn = endpoint.flush_lsn()
        node.http().checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
        node.http().timeline_compact(env.initial_tenant, env.initial_timeline)
        assert node.http().deletion_queue()["submitted"] > before

    wait_until(check, timeout_s=60)


def churning(env: NeonEnv) -> Endpoint:
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE churn AS SELECT n FROM generate_series(1, 2000) n")
    return endpoint


def test_a_replaced_pageserver_deletes_nothing_its_successor_needs(
    neon_env_builder: NeonEnvBuilder, store: Store, control_plane: ControlPlane
) -> None:
    neon_env_builder.store = store
    neon_env_builder.num_pageservers = 2
    env = start(neon_env_builder, control_plane)
    old, new = env.pageservers
    endpoint = churning(env)
    ledger = Ledger(endpoint).create().start()
    replace_layers(env, old, endpoint)
    wait_for_deletions(old, "executed")

    # The old one is not told: both ingest, upload and compact under load.
    attach(env, new, control_plane.attach(env.initial_tenant, new.id))
    assert control_plane.generation(env.initial_tenant) == 2
    for _ in range(3):
        ledger.wait_for_progress()
        replace_layers(env, old, endpoint)
        replace_layers(env, new, endpoint)
        assert check_that_indexed_objects_exist(store) > 0
    wait_for_deletions(old, "dropped")
    wait_for_deletions(new, "executed")
    assert old.log_contains("Dropping stale deletions for tenant")
    for node in env.pageservers:
        assert node.http().deletion_queue()["unexpected_errors"] == 0

    # What the old one was told to be stored, it may not tell safekeepers.
    detail = old.http().timeline_detail(env.initial_tenant, env.initial_timeline)
    assert detail["remote_consistent_lsn_visible"] < detail["remote_consistent_lsn"]

    # The old one learns its fate when it starts again; the new one comes back from the store alone.
    old.kill()
    old.start()
    with pytest.raises(Exception, match="404|NotFound"):
        old.http().tenant_status(env.initial_tenant)
    new.kill()
    new.start()
    assert control_plane.generation(env.initial_tenant) == 3
    ledger.wait_for_progress()
    ledger.stop()
    replace_layers(env, new, endpoint)
    assert check_that_indexed_objects_exist(store) > 0


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("validated", [False, True], ids=["not-validated", "validated"])
def test_lists_survive_a_crash_and_are_executed_only_if_they_may(
    neon_env_builder: NeonEnvBuilder, control_plane: ControlPlane, keep: bool, validated: bool
) -> None:
    env = start(neon_env_builder, control_plane)
    endpoint = churning(env)
    node, http = env.pageserver, env.pageserver.http()
    deletion_dir = node.workdir / "deletion"
    http.deletion_queue_flush(execute=True)
    if validated:
        http.configure_failpoints(("deletion-queue-before-execute", "return"))
    else:
        control_plane.online = False
    replace_layers(env, node, endpoint)
    endpoint.stop()
    http.deletion_queue_flush()
    before = http.deletion_queue()
    pending = before["submitted"] - before["executed"] - before["dropped"]
    assert pending > 0 and list(deletion_dir.glob("*-01.list"))
    if validated:
        wait_for_deletions(node, "validated", before["executed"])

        def header_written() -> None:
            assert (deletion_dir / "header-01").exists()

        wait_until(header_written)
    else:
        assert http.deletion_queue()["validated"] == before["validated"], "nobody could be asked"
    node.kill()
    if not keep:
        # Somebody else had the tenant in between.
        control_plane.attach(env.initial_tenant, 77)
        control_plane.attach(env.initial_tenant, node.id)
    control_plane.online = True
    node.start()
    http.deletion_queue_flush(execute=True)
    after = http.deletion_queue()
    assert after["unexpected_errors"] == 0
    if keep or validated:
        assert after["executed"] > 0 or not list(deletion_dir.glob("*-01.list"))
    if keep and not validated:
        assert after["executed"] >= pending and after["dropped"] == 0
    if not keep and not validated:
        assert after["dropped"] >= pending
    assert not list(deletion_dir.glob("*-01.list"))
    assert check_that_indexed_objects_exist(env.store) > 0


def test_a_crash_in_the_middle_of_a_deletion_loses_nothing(
    neon_env_builder: NeonEnvBuilder, control_plane: ControlPlane
) -> None:
    env = start(neon_env_builder, control_plane)
    endpoint = churning(env)
    ledger = Ledger(endpoint).create().start()
    node = env.pageserver
    for point, action in [
        ("control-plane-client-validate-sleep", "return(60000)"),
        ("deletion-queue-before-execute", "exit"),
        ("deletion-queue-before-execute", "return"),
        ("before-delete-layer-pausable", "pause"),
    ]:
        pid = node.pid
        node.http().configure_failpoints((point, action))
        try:
            replace_layers(env, node, endpoint)
            if action == "exit":
                node.http().deletion_queue_flush(execute=True)
        except Exception:
            # It has left, or what was to be handed over is held back.
            assert action in ("exit", "pause")
        if action == "exit":
            def gone(pid: int = pid) -> None:
                assert not pid_is_alive(pid)

            wait_until(gone, timeout_s=40)
        else:
            node.kill()
        node.start()
        ledger.wait_for_progress()
        assert check_that_indexed_objects_exist(env.store) > 0
    ledger.stop()
    node.http().deletion_queue_flush(execute=True)
    endpoint.stop()
    endpoint.start()
    ledger.verify()
    assert node.http().deletion_queue()["unexpected_errors"] == 0


def test_without_an_answer_nothing_is_deleted_and_nothing_waits_for_long(
    neon_env_builder: NeonEnvBuilder, control_plane: ControlPlane
) -> None:
    env = start(neon_env_builder, control_plane)
    endpoint = churning(env)
    node, http = env.pageserver, env.pageserver.http()
    http.deletion_queue_flush(execute=True)
    control_plane.online = False
    validated = http.deletion_queue()["validated"]
    replace_layers(env, node, endpoint)
    http.deletion_queue_flush()

    def warned() -> None:
        assert node.log_contains("calling control plane generation validation API failed")

    wait_until(warned, timeout_s=40)
    assert http.deletion_queue()["validated"] == validated
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 30

    # It comes up without an answer only if it is told so.
    conf = node.workdir / "pageserver.toml"
    conf.write_text("control_plane_emergency_mode = true\n" + conf.read_text())
    generation = control_plane.generation(env.initial_tenant)
    node.start()
    assert node.log_contains("Emergency mode!")
    http.wait_for_last_record_lsn(env.initial_tenant, env.initial_timeline, endpoint.flush_lsn())
    assert control_plane.generation(env.initial_tenant) == generation
    endpoint.stop()
    assert endpoint.start().value("SELECT count(*) FROM churn") == 2000
    assert http.deletion_queue()["executed"] == 0


def test_a_start_waits_for_the_control_plane(
    neon_env_builder: NeonEnvBuilder, control_plane: ControlPlane
) -> None:
    env = start(neon_env_builder, control_plane)
    node = env.pageserver
    endpoint = churning(env)
    lsn = endpoint.flush_lsn()
    node.http().checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
    node.kill()
    control_plane.online = False
    with pytest.raises(RuntimeError):
        env.cli.raw("pageserver", "start", f"--id={node.id}", "-t", "3s")
    control_plane.online = True
    before = control_plane.generation(env.initial_tenant)
    node.start()
    assert control_plane.generation(env.initial_tenant) == before + 1
    call, body = next(call for call in reversed(control_plane.calls) if call[0] == "re-attach")
    assert body["register"]["listen_http_port"] == node.http_port, call
    # The new generation writes objects of its own.
    replace_layers(env, node, endpoint)
    suffix = f"index_part.json-{before + 1:08x}"
    assert any(key.endswith(suffix) for key in env.store.keys())
