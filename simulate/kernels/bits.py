"""Instructions that numba has no name for: a number's bits as another type, the upper half of a product."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _same_bits(result: Any, argument: Any, llvm_result: Any) -> Any:
    """A function that reads the bits of one type as another."""

    def reinterpret(typing_context: Any, value: Any) -> Any:  # noqa: ARG001 - numba's signature
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            return builder.bitcast(arguments[0], llvm_result)

        return result(argument), generate

    return intrinsic(reinterpret)


def _high_product(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - numba's signature
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


bits_of: Any = _same_bits(types.int64, types.float64, ir.IntType(64))
double_of: Any = _same_bits(types.float64, types.int64, ir.DoubleType())
bits_of_single: Any = _same_bits(types.int32, types.float32, ir.IntType(32))
single_of: Any = _same_bits(types.float32, types.int32, ir.FloatType())
# the upper 64 bits of the product of two 64-bit numbers
high_product: Any = intrinsic(_high_product)
