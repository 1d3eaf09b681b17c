"""Worker of the counselor on a CPU. Its sampling is ours from the start on, before any request."""

from vllm.v1.worker import cpu_worker

from psychechat.engines.vllm import script_masks
from psychechat.engines.vllm.cpu import is_on, jump_forward, min_p, sparse_penalties


class CpuWorker(cpu_worker.CPUWorker):
    """vLLM's own with our kernel and samplers, in the place of those that vLLM has registered and made by then."""

    def init_device(self) -> None:
        super().init_device()  # type: ignore[no-untyped-call]
        jump_forward.install()
        if is_on("sparse_penalties", self.vllm_config):
            sparse_penalties.install(self.model_runner)
        min_p.install(self.model_runner, self.vllm_config)
        script_masks.install(self.model_runner, self.vllm_config)
