"""The chart on one machine: what an operator, kubelets and a service make of it, acted out with real processes."""
