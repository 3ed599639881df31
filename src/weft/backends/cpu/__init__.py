"""The CPU backend: kernels as LLVM IR, compiled in the process through llvmlite."""
