"""onnxruntime, inference only; the graph is built with onnx.helper from the shared weights."""

import numpy as np
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as N

from common import BLOCKS, LSTM, SEQ, THREADS, batches, params


def build(w, variant):
    if w.mode != "infer":
        raise SystemExit("onnxruntime: inference only")
    p, nodes, init, cnt = params(w.model), [], [], [0]

    def const(name, v):
        init.append(N.from_array(np.ascontiguousarray(v), name))
        return name

    def op(kind, *ins, **kw):
        cnt[0] += 1
        nodes.append(H.make_node(kind, list(ins), [f"t{cnt[0]}"], **kw))
        return f"t{cnt[0]}"

    def gemm(x, n):
        return op("Gemm", x, const(n + ".w", p[n + ".w"]), const(n + ".b", p[n + ".b"]), transB=1)

    x = "x"
    if w.model in SEQ:
        for i, layer in enumerate(SEQ[w.model]):
            if layer[0] == "dense":
                x = gemm(x, str(i))
            elif layer[0] == "conv":
                weight, bias = const(f"{i}.w", p[f"{i}.w"]), const(f"{i}.b", p[f"{i}.b"])
                x = op("Conv", x, weight, bias, kernel_shape=[layer[3]] * 2)
            elif layer[0] == "relu":
                x = op("Relu", x)
            elif layer[0] == "pool":
                x = op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
            else:
                x = op("Flatten", x)
    elif w.model == "lstm":

        def iofc(a):
            i, f, g, o = np.split(a, 4)
            return np.concatenate([i, o, f, g])

        e = op("Transpose", op("Gather", const("emb", p["emb"]), x), perm=[1, 0, 2])
        weights = {
            "W": iofc(p["w_ih"])[None],
            "R": iofc(p["w_hh"])[None],
            "B": np.concatenate([iofc(p["b"]), 0 * p["b"]])[None],
        }
        inputs = [e, *(const(k, v) for k, v in weights.items())]
        nodes.append(H.make_node("LSTM", inputs, ["", "hT"], hidden_size=LSTM["hidden"]))
        x = gemm(op("Squeeze", "hT", const("ax", np.array([0]))), "out")
    else:

        def cbn(n, x, k, s, pad, relu=True):
            weight = const(n + ".w", p[n + ".w"])
            x = op("Conv", x, weight, kernel_shape=[k, k], strides=[s, s], pads=[pad] * 4)
            z = np.zeros_like(p[n + ".b"])
            stats = {"g": p[n + ".g"], "b": p[n + ".b"], "m": z, "v": z + 1}
            x = op("BatchNormalization", x, *(const(f"{n}.{k}", v) for k, v in stats.items()), epsilon=1e-5)
            return op("Relu", x) if relu else x

        x = op("MaxPool", cbn("stem", x, 7, 2, 3), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        for n, _, _, s in BLOCKS:
            y = cbn(n + ".c2", cbn(n + ".c1", x, 3, s, 1), 3, 1, 1, False)
            x = op("Relu", op("Add", y, cbn(n + ".ds", x, 1, s, 0, False) if n + ".ds.w" in p else x))
        x = gemm(op("Flatten", op("GlobalAveragePool", x)), "fc")
    data = [b[0] for b in batches(w)]
    xin = H.make_tensor_value_info("x", T.INT64 if data[0].dtype == np.int64 else T.FLOAT, data[0].shape)
    g = H.make_graph(nodes, w.model, [xin], [H.make_tensor_value_info(x, T.FLOAT, None)], init)
    m = H.make_model(g, opset_imports=[H.make_opsetid("", 17)], ir_version=9)
    so = onnxruntime.SessionOptions()
    so.intra_op_num_threads = THREADS
    sess = onnxruntime.InferenceSession(m.SerializeToString(), so, providers=["CPUExecutionProvider"])

    def run(k):
        for i in range(k):
            out = sess.run(None, {"x": data[i % len(data)]})[0]
        return out

    return run
