"""Ray Serve LLM with the demo counselor: `python -m benchmarks.speed.ray_serve_llm PORT CORE`, until it is stopped."""

import signal
import sys
import threading

import ray
from ray import serve
from ray.serve.llm import LLMConfig, build_openai_app

from benchmarks.speed.peers import COUNSELOR, VLLM_ENGINE, counselor_weights


def main(port: int, core: str) -> None:
    ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=100 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    config = LLMConfig(
        model_loading_config={"model_id": COUNSELOR, "model_source": counselor_weights()},
        engine_kwargs={**VLLM_ENGINE, "enable_prompt_tokens_details": True},
        accelerator_type=None,
        placement_group_config={"bundles": [{"CPU": 1}]},
        deployment_config={"num_replicas": 1, "max_ongoing_requests": 256},
        runtime_env={"env_vars": {"VLLM_CPU_OMP_THREADS_BIND": core, "VLLM_CPU_KVCACHE_SPACE": "1"}},
    )
    serve.run(build_openai_app({"llm_configs": [config]}), name="llm")
    threading.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except KeyboardInterrupt:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
