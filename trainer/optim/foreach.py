"""torch's multi-tensor operations: one kernel for a whole list.

Their names begin with an underscore, but they are what torch's own optimisers and gradient clipping are made of. They
are collected here so that the rest of the trainer does not depend on where they live.
"""

from __future__ import annotations

import torch

add_ = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]
addcmul_ = torch._foreach_addcmul_  # pyright: ignore[reportPrivateImportUsage]
chunk_cat = torch._chunk_cat  # pyright: ignore[reportPrivateImportUsage]
copy_ = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
div = torch._foreach_div  # pyright: ignore[reportPrivateImportUsage]
div_ = torch._foreach_div_  # pyright: ignore[reportPrivateImportUsage]
lerp_ = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
mul = torch._foreach_mul  # pyright: ignore[reportPrivateImportUsage]
mul_ = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
norm = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]
sqrt = torch._foreach_sqrt  # pyright: ignore[reportPrivateImportUsage]
sub_ = torch._foreach_sub_  # pyright: ignore[reportPrivateImportUsage]
