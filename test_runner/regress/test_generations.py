"""Who may delete: generations, the control plane, and the deletion queue."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
import requests
from fixtures import tenant_copies
from fixtures.common import wait_until
from fixtures.control_plane import ControlPlane
from fixtures.ledger import Ledger
from fixtures.neon_fixtures import Endpoint, NeonEnv, NeonEnvBuilder, NeonPageserver, pid_is_alive
from fixtures.pageserver_http import ApiException, PageserverHttp
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


def attach(env: NeonEnv, node: NeonPageserver, generation: int) -> None:
    options = {name: int(value) if value.isdigit() else value for name, value in BUSY.items()}
    tenant_copies.attach(node.http(), env.initial_tenant, generation, options)


def wait_for_deletions(node: NeonPageserver, counter: str) -> None:
    def check() -> None:
        node.http().deletion_queue_flush(execute=True)
        counts = node.http().deletion_queue()
        assert counts[counter] > 0, counts

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
    for _ in range(2):
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


def start_flush_execute(node: NeonPageserver) -> None:
    """Asks for deletions to be executed; that never ends if something is in the way."""
    http = PageserverHttp(node.http_port, retry_unavailable=False)

    def flush() -> None:
        try:
            http.deletion_queue_flush(execute=True)
        except (ApiException, requests.RequestException):
            # The process has gone away.
            pass

    threading.Thread(target=flush, daemon=True).start()


class Compactable:
    """Copies of a tenant with many small layers, which a compaction replaces: deletions to order,
    without a compute."""

    # One round of compaction, when it is asked for.
    CONF = {"compaction_period": "0s", "compaction_threshold": 2, "compaction_target_size": 262144}

    def __init__(self, env: NeonEnv, plane: ControlPlane):
        self.env, self.plane = env, plane
        self.node = env.pageserver
        endpoint = churning(env)
        for _ in range(3):
            endpoint.sql("UPDATE churn SET n = n + 1")
            lsn = endpoint.flush_lsn()
            self.node.http().checkpoint_and_upload(env.initial_tenant, env.initial_timeline, lsn)
        endpoint.stop()

    def attach_copy(self) -> str:
        tenant = tenant_copies.copy_tenant(self.env)
        generation = self.plane.attach(tenant, self.node.id, 2)
        tenant_copies.attach(self.node.http(), tenant, generation, self.CONF)
        self.node.http().timeline_detail(tenant, self.env.initial_timeline)
        return tenant

    def compact(self, tenant: str) -> int:
        """Returns how many layers were handed over for deletion."""
        http = self.node.http()
        before = http.deletion_queue()["submitted"]
        http.timeline_compact(tenant, self.env.initial_timeline, wait_until_uploaded="true")
        submitted = http.deletion_queue()["submitted"] - before
        assert submitted > 0
        return submitted

    def restart_and_drain(self) -> dict[str, int]:
        """What the next process makes of what the last one left."""
        self.node.start_alone()
        http = self.node.http()
        http.deletion_queue_flush(execute=True)
        assert check_that_indexed_objects_exist(self.env.store) > 0
        assert not list((self.node.workdir / "deletion").glob("*-01.list"))
        counts = http.deletion_queue()
        assert counts["unexpected_errors"] == 0
        return counts


def test_deletions_survive_crashes_and_are_executed_only_if_they_may(
    neon_env_builder: NeonEnvBuilder, control_plane: ControlPlane
) -> None:
    neon_env_builder.control_plane = control_plane
    neon_env_builder.num_safekeepers = 1
    neon_env_builder.tenant_config = {"compaction_period": "0s", "compaction_threshold": "100"}
    tenants = Compactable(neon_env_builder.init_start(), control_plane)
    crash_before_validation(tenants)
    crash_after_validation(tenants)
    for failpoint, action in [
        ("control-plane-client-validate-sleep", "return(600000)"),
        ("deletion-queue-before-execute", "kill"),
        ("before-delete-layer-pausable", "pause"),
    ]:
        crash_at(tenants, failpoint, action)


def crash_before_validation(tenants: Compactable) -> None:
    node, plane = tenants.node, tenants.plane
    kept, lost = tenants.attach_copy(), tenants.attach_copy()
    plane.online = False
    before = node.http().deletion_queue()
    of_kept, of_lost = tenants.compact(kept), tenants.compact(lost)
    node.http().deletion_queue_flush()
    after = node.http().deletion_queue()
    assert after["validated"] == before["validated"], "nobody could be asked"
    assert list((node.workdir / "deletion").glob("*-01.list"))
    node.kill()
    # Somebody else has one of them in between.
    plane.attach(lost, 77)
    plane.attach(lost, node.id)
    plane.online = True
    counts = tenants.restart_and_drain()
    assert (counts["executed"], counts["dropped"]) == (of_kept, of_lost)


def crash_after_validation(tenants: Compactable) -> None:
    node, plane = tenants.node, tenants.plane
    kept, lost = tenants.attach_copy(), tenants.attach_copy()
    http = node.http()
    http.deletion_queue_flush(execute=True)
    http.configure_failpoints(("deletion-queue-before-execute", "return"))
    before = http.deletion_queue()
    submitted = tenants.compact(kept) + tenants.compact(lost)
    start_flush_execute(node)

    def validated() -> None:
        assert http.deletion_queue()["validated"] == before["validated"] + submitted
        assert (node.workdir / "deletion" / "header-01").exists()

    wait_until(validated)
    node.kill()
    plane.attach(lost, 77)
    plane.attach(lost, node.id)
    counts = tenants.restart_and_drain()
    assert (counts["executed"], counts["dropped"]) == (submitted, 0)


def crash_at(tenants: Compactable, failpoint: str, action: str) -> None:
    node, pid = tenants.node, tenants.node.pid
    tenant = tenants.attach_copy()
    mark = f"{failpoint}: {action}"
    node.http().configure_failpoints((failpoint, action))
    if action == "pause":
        # What is handed over is held up, so there is nothing to wait for.
        node.http().timeline_compact(tenant, tenants.env.initial_timeline)
    else:
        tenants.compact(tenant)
    start_flush_execute(node)

    def there() -> None:
        if action == "kill":
            assert not pid_is_alive(pid), mark
        else:
            text = node.log_file.read_text(errors="replace")
            assert re.search(rf'failpoint "?{failpoint}"?(?![-\w])', text), mark

    wait_until(there)
    if action != "kill":
        node.kill()
    counts = tenants.restart_and_drain()
    assert counts["dropped"] == 0, mark
    size = node.http().call(
        "GET", f"/v1/tenant/{tenant}/timeline/{tenants.env.initial_timeline}",
        params={"include-non-incremental-logical-size": "true"},
    )
    assert size["current_logical_size_non_incremental"] > 2**20, mark


def test_a_control_plane_that_is_away(
    neon_env_builder: NeonEnvBuilder, control_plane: ControlPlane
) -> None:
    neon_env_builder.num_safekeepers = 1
    env = start(neon_env_builder, control_plane)
    endpoint = churning(env)
    node, http = env.pageserver, env.pageserver.http()
    http.deletion_queue_flush(execute=True)
    control_plane.online = False
    validated = http.deletion_queue()["validated"]
    replace_layers(env, node, endpoint)
    start_flush_execute(node)

    def warned() -> None:
        assert node.log_contains("calling control plane generation validation API failed")

    wait_until(warned, timeout_s=40)
    assert http.deletion_queue()["validated"] == validated, "without an answer nothing is deleted"
    # Nor does anything wait for long.
    node.stop()

    # A start waits for the answer.
    with pytest.raises(RuntimeError):
        env.cli.raw("pageserver", "start", f"--id={node.id}", "-t", "2s")
    before = control_plane.generation(env.initial_tenant)
    control_plane.online = True
    node.start()
    assert control_plane.generation(env.initial_tenant) == before + 1
    call, body = next(call for call in reversed(control_plane.calls) if call[0] == "re-attach")
    assert body["register"]["listen_http_port"] == node.http_port, call
    # The new generation writes objects of its own.
    replace_layers(env, node, endpoint)
    suffix = f"index_part.json-{before + 1:08x}"
    assert any(key.endswith(suffix) for key in env.store.keys())
    start_in_emergency(env, control_plane, endpoint)


def start_in_emergency(env: NeonEnv, plane: ControlPlane, endpoint: Endpoint) -> None:
    """It comes up without an answer only if it is told so."""
    node, http = env.pageserver, env.pageserver.http()
    node.kill()
    plane.online = False
    conf = node.workdir / "pageserver.toml"
    conf.write_text("control_plane_emergency_mode = true\n" + conf.read_text())
    generation = plane.generation(env.initial_tenant)
    node.start()
    assert node.log_contains("Emergency mode!")
    http.wait_for_last_record_lsn(env.initial_tenant, env.initial_timeline, endpoint.flush_lsn())
    assert plane.generation(env.initial_tenant) == generation
    endpoint.stop()
    assert endpoint.start().value("SELECT count(*) FROM churn") == 2000
    assert http.deletion_queue()["executed"] == 0
