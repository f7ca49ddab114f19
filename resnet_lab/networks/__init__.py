"""Architectures: a name or a `NetworkSpec` in, a matched plain or residual `Network` out.

`spec`, `names`, `complexity` and `table` are plain arithmetic and never import torch, so this
package imports nothing by itself.
"""
