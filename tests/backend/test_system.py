from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from headstitch.backend import system
from headstitch.backend.errors import OptionError, ResourceError
from headstitch.backend.system import repeatable

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of files: write under proc/ and cgroup/ what the kernel would say. No limit on the address space."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroup.mkdir()
    monkeypatch.setattr(system, "PROC", proc)
    monkeypatch.setattr(system, "CGROUP", cgroup)

    def write(**files: str) -> None:
        for path, text in files.items():
            target = tmp_path / path.replace("__", "/").replace("_DOT_", ".")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    return write


def meminfo(available: int, swap: int = 0) -> str:
    return f"MemTotal: 999999999 kB\nMemAvailable:   {available >> 10} kB\nSwapFree:       {swap >> 10} kB\n"


def test_free_memory_is_what_the_kernel_calls_available_plus_swap(machine):
    machine(proc__meminfo=meminfo(300 * MIB, 50 * MIB))
    assert system.available_memory() == (350 * MIB, "this machine")


def test_the_tightest_of_the_nested_groups_counts_and_cached_files_are_given_back(machine):
    machine(
        proc__meminfo=meminfo(8000 * MIB),
        proc__self__cgroup="0::/outer/inner\n",
        cgroup__outer__memory_DOT_max=str(500 * MIB),
        cgroup__outer__memory_DOT_current=str(450 * MIB),
        cgroup__outer__memory_DOT_stat=f"anon 5\ninactive_file {100 * MIB}\n",
        cgroup__outer__inner__memory_DOT_max="max",
        cgroup__outer__inner__memory_DOT_current=str(10 * MIB),
    )
    assert system.available_memory() == (150 * MIB, "this container's limit")


def test_a_container_that_sees_only_its_own_group_is_read_at_the_root(machine):
    machine(
        proc__meminfo=meminfo(8000 * MIB),
        proc__self__cgroup="0::/not/visible/here\n",
        cgroup__memory_DOT_max=str(500 * MIB),
        cgroup__memory_DOT_current=str(100 * MIB),
    )
    assert system.available_memory() == (400 * MIB, "this container's limit")


def test_control_groups_of_the_first_version_are_read(machine):
    machine(
        proc__meminfo=meminfo(8000 * MIB),
        proc__self__cgroup="5:devices:/\n4:cpu,memory:/job\n0::/\n",
        cgroup__memory__job__memory_DOT_limit_in_bytes=str(700 * MIB),
        cgroup__memory__job__memory_DOT_usage_in_bytes=str(600 * MIB),
        cgroup__memory__job__memory_DOT_stat=f"inactive_file 1\ntotal_inactive_file {50 * MIB}\n",
    )
    assert system.available_memory() == (150 * MIB, "this container's limit")


def test_a_system_that_does_not_tell_is_trusted(machine):
    assert system.available_memory() is None
    system.check_memory(1 << 60)


def test_too_little_memory_is_said_with_both_numbers_and_what_to_do(machine):
    machine(proc__meminfo=meminfo(512 * MIB))
    system.check_memory(512 * MIB)
    with pytest.raises(ResourceError) as caught:
        system.check_memory(2048 * MIB)
    said = str(caught.value)
    assert "2.0 GiB" in said
    assert "0.5 GiB" in said
    assert "--resolution" in said


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is read on Linux")
def test_a_process_under_ulimit_is_refused_before_the_work():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
        "from headstitch.backend.system import check_memory\n"
        "from headstitch.backend.errors import ResourceError\n"
        "check_memory(50 << 20)\n"
        "try: check_memory(600 << 20)\n"
        "except ResourceError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ulimit -v" in done.stdout
    assert "0.6 GiB" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is read on Linux")
def test_mapped_files_count_against_a_limit_on_the_process_alone(machine):
    machine(proc__meminfo=meminfo(512 * MIB))
    system.check_memory(512 * MIB, mapped=1 << 60)
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1400 << 20, 1400 << 20))\n"
        "from headstitch.backend.system import check_memory\n"
        "from headstitch.backend.errors import ResourceError\n"
        "check_memory(50 << 20, mapped=100 << 20)\n"
        "try: check_memory(512 << 20, mapped=1024 << 20, otherwise='buy another machine')\n"
        "except ResourceError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs about 0.5 GiB of memory, but the limit on this process (ulimit -v) leaves 0." in done.stdout
    assert "beside 1.0 GiB of files; close other programs, or buy another machine." in done.stdout


def test_what_makes_the_job_smaller_is_said_by_the_job():
    said = r"^The memory ran out; close other programs, or sit down\.$"
    with pytest.raises(ResourceError, match=said), system.plain_errors("sit down"):
        raise MemoryError


def test_auto_finds_a_device_and_the_cpu_is_always_there():
    assert system.choose_device().type in {"cpu", "cuda", "mps"}
    assert system.choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_what_to_give_instead(name, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="--device auto or --device cpu"):
        system.choose_device(name)
    assert system.choose_device("auto").type == "cpu"


def test_auto_prefers_cuda_then_mps(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert system.choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert system.choose_device("auto").type == "mps"


def test_a_device_nobody_has_heard_of_is_an_option_error():
    with pytest.raises(OptionError, match="auto, cpu, cuda or mps"):
        system.choose_device("tpu")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError("libfoo.so: cannot allocate memory in static TLS block"),
    ],
)
def test_every_way_of_running_out_of_memory_is_one_sentence(error):
    with pytest.raises(ResourceError, match="smaller --resolution or --texture-size"), system.plain_errors():
        raise error


def test_opencv_running_out_of_memory_is_the_same_sentence():
    import cv2

    with pytest.raises(ResourceError, match="memory ran out"), system.plain_errors():
        raise cv2.error("OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes")


def test_torch_running_out_of_memory_for_real_is_the_same_sentence():
    import torch

    with pytest.raises(ResourceError, match="memory ran out"), system.plain_errors():
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("shape mismatch"), OSError(28, "No space left")])
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as caught, system.plain_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(("library", "package", "_who"), system.known_libraries())
def test_a_missing_library_names_its_debian_package(library, package, _who, monkeypatch):
    monkeypatch.setattr(system, "_loads", lambda name: True)
    with pytest.raises(ResourceError, match=f"apt-get install -y {package}$"), system.plain_errors():
        raise ImportError(f"{library}: cannot open shared object file: No such file or directory")


def test_all_missing_libraries_are_named_in_one_line(monkeypatch):
    monkeypatch.setattr(system, "_loads", lambda name: not name.startswith("libGL"))
    with pytest.raises(ResourceError, match=r"install -y libusb-1\.0-0 libgl1$"), system.plain_errors():
        raise OSError("libusb-1.0.so.0: cannot open shared object file: No such file or directory")


def test_an_unknown_missing_library_is_named_itself(monkeypatch):
    monkeypatch.setattr(system, "_loads", lambda name: True)
    with pytest.raises(ResourceError, match=r"libodd\.so\.3 is missing"), system.plain_errors():
        raise ImportError("libodd.so.3: cannot open shared object file: No such file or directory")


def test_this_machine_has_the_libraries():
    system.check_libraries()


def gpu_settings():
    cudnn = torch.backends.cudnn
    return (
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
    )


def test_on_cuda_a_job_repeats_itself_in_single_precision_and_leaves_the_settings_as_they_were(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = gpu_settings()
    seen = []

    @repeatable()
    def job():
        seen.append(gpu_settings())
        raise KeyError

    with pytest.raises(KeyError):
        job()
    assert seen == [("highest", True, True, False, (True, False, True, False))]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert gpu_settings() == before
    assert before[4][3]  # TF32 is what convolutions would have had


def test_without_cuda_no_setting_is_touched(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = gpu_settings()
    with repeatable():
        assert gpu_settings() == before
