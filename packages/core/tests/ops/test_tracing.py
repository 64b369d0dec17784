import subprocess
import sys

import torch

from headway.core.ops.tracing import constant


def test_a_constant_is_marked_as_the_compiler_marks_it() -> None:
    def found() -> int:
        return 1

    def other() -> int:
        return 1

    expected = vars(torch.compiler.assume_constant_result(other))
    assert expected
    assert vars(constant(found)) == expected


def test_ops_load_without_the_compiler() -> None:
    code = "import sys, headway.core.ops.decode, headway.core.mixers; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
