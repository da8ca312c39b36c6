"""The memory that is free, as prediction plans with it."""

from anystar_torch.system import memory


def test_memory_is_what_the_control_group_leaves(tmp_path, monkeypatch):
    outer, inner = tmp_path / "job", tmp_path / "job" / "step"
    inner.mkdir(parents=True)
    for group, limit, taken, cached in ((outer, "1000000", 700000, 200000), (inner, "max", 600000, 0)):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{taken}\n")
        (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 7\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n")
    monkeypatch.setattr(memory, "_GROUP", own)
    assert memory._group_memory(tmp_path) == 500000  # files that were merely read give way
    (inner / "memory.max").write_text("600100\n")
    assert memory._group_memory(tmp_path) == 100
    own.write_text("0::/nowhere\n")
    assert memory._group_memory(tmp_path) > 1 << 60


def test_memory_is_no_more_than_the_machine_has():
    assert 0 < memory.available_memory() <= memory.psutil.virtual_memory().total
    assert 1 << 20 < memory.resident() < memory.psutil.virtual_memory().total
