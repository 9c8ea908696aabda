"""The measurements that README.md quotes; docs/benchmarks.md says what each one means."""
