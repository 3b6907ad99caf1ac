"""The time that offline training waits for data, the gain of a second core in reading, and the memory of a stream."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil
import ray
from tqdm import tqdm

from serl_ray.benchmarks.commands import SETUP_MODE, cameras_of, run_serl
from serl_ray.benchmarks.runs import measured
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.cluster.start import start_here
from serl_ray.data import demos
from serl_ray.data.schema import Segment
from serl_ray.options.presets import preset
from serl_ray.options.sets import OfflineRun
from serl_ray.rllib.buffers import demos_as_seen
from serl_ray.rllib.offline_data import demo_spaces
from serl_ray.runs.train import start_for
from serl_ray.utils.options import Options


class Offline(Options):
    """Trains from two cameras on demonstrations in memory, and on a stream of a data set larger than the memory
    granted."""

    save_dir: Path = Path("runs/benchmark")
    """Folder for the demonstrations and offline.json."""
    episodes: int = 20
    """Number of recorded demonstrations."""
    copies: int = 20
    """Number of copies of the demonstrations in the stream's data set."""
    memory_gb: float = 0.1
    """Memory limit of the stream's window, and of Ray's object store, in GB."""
    batch_size: int = 128
    """Transitions per update."""
    learner_steps: int = 200
    """Learner steps of each run, after the first 50."""

    def run(self) -> None:
        """Measures, and reports."""
        recorded, many = self._data()
        rows = self._reading(recorded)
        rows += self._waiting("in memory", recorded)
        rows += self._waiting("streaming", many, self.memory_gb)
        print_report("offline", self.flat(), rows, self.save_dir)

    def _data(self) -> tuple[Path, Path]:
        """The recorded demonstrations, four files, and a data set of many copies, a file each."""
        recorded, many = self.save_dir / "offline-demos", self.save_dir / "offline-many"
        if not recorded.exists():
            single = self.save_dir / "offline-demos.pkl"
            flags = [
                "--setup_mode",
                SETUP_MODE,
                "--episodes",
                str(self.episodes),
                "--image_keys",
                *cameras_of(SETUP_MODE),
            ]
            run_serl("record", *flags, "--output", str(single))
            segments = list(demos.read_file(str(single)))
            for part in range(4):
                demos.write_demos(recorded / f"{part}.pkl", segments[part::4])
        if not many.exists():
            segments = [segment for file in demos.find_files(str(recorded)) for segment in demos.read_file(file)]
            for copy in tqdm(range(self.copies), unit="copy"):
                demos.write_demos(many / f"{copy:03d}.pkl", (_renamed(segment, copy) for segment in segments))
        return recorded, many

    def _options(self, data: Path, memory_gb: float | None = None) -> OfflineRun:
        options = preset("tabletop", OfflineRun) | {"batch_size": self.batch_size}
        return OfflineRun.of(
            setup_mode=SETUP_MODE,
            image_keys=cameras_of(SETUP_MODE),
            demo_paths=(str(data),),
            memory_gb=memory_gb,
            held_out=0.05,
            evaluate_every=0,
            steps_per_iteration=50,
            **options,
        )

    def _reading(self, data: Path) -> list[Row]:
        """Reading and encoding four files with one core and with two; the trunk is there before the clock starts."""
        options, seconds = self._options(data), {}
        for cores in (1, 2):
            start_here(num_cpus=cores)
            space, action_space = demo_spaces(options)
            for name in ("warm-up", cores):
                started = time.monotonic()
                for _ in demos.segments(demos_as_seen(options, space, action_space.shape[0])):
                    pass
                seconds[name] = time.monotonic() - started
            ray.shutdown()
        return [
            Row("reading and encoding, 1 core", seconds[1], "s"),
            Row("reading and encoding, 2 cores", seconds[2], "s"),
            Row("2 cores / 1 core", seconds[1] / seconds[2], ""),
        ]

    def _waiting(self, name: str, data: Path, memory_gb: float | None = None) -> list[Row]:
        options = self._options(data, memory_gb)
        start_for(options)
        with _PeakMemory() as memory, measured(options, self.save_dir) as algorithm:
            data_gb = algorithm.data.num_bytes / 1e9
            if bool(algorithm.data.stream) != bool(memory_gb):
                raise ValueError(
                    f"{name}: {data_gb:.3g} GB of demonstrations came the other way. Choose other --copies."
                )
            algorithm.train()
            results = [algorithm.train() for _ in range(self.learner_steps // options.schedule.steps_per_iteration)]
        rows = [
            Row(
                f"{name}: share of the time that the learner waits", _mean(results, "learner/data_wait"), "", "<= 0.05"
            ),
            Row(f"{name}: learner steps a second", _mean(results, "learner/steps_per_second"), ""),
            Row(f"{name}: size of the data", data_gb, "GB"),
            Row(f"{name}: greatest memory of the learner's process beyond that at the start", memory.peak / 1e9, "GB"),
        ]
        if memory_gb:
            rows.append(Row(f"{name}: size of the data / memory granted", data_gb / memory_gb, "", ">= 3"))
        ray.shutdown()
        return rows


class _PeakMemory:
    """The greatest memory of this process beyond what it has at first, what it has mapped of Ray's object store
    included."""

    def __enter__(self) -> _PeakMemory:
        self._process, self.peak, self._is_over = psutil.Process(os.getpid()), 0, threading.Event()
        self._first = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            self.peak = max(self.peak, self._process.memory_info().rss - self._first)

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def _renamed(segment: Segment, copy: int) -> Segment:
    return Segment(**{**vars(segment), "episode": f"{segment.episode}-{copy}"})


def _mean(results: list[dict[str, float]], name: str) -> float:
    return sum(result[name] for result in results) / len(results)
