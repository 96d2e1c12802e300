"""Gets everything ready that `peers` (crates/engine/benches/peers) measures: trained models, what the compiling peers make
of them, and a plan that says where it all lies. What exists already is kept; what fails is left out with its reason.

    prepare.py FOLDER
"""

import concurrent.futures
import hashlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import subprocess
import sys
import time

import models

# For each engine the package that must be there, and its shared library inside of it.
LIBRARIES = {
    "LightGBM": ("lightgbm", "lib/lib_lightgbm.so"),
    "XGBoost": ("xgboost", "lib/libxgboost.so"),
    "treelite GTIL": ("treelite", "lib/libtreelite.so"),
    "ONNX Runtime": ("onnxruntime", "capi/libonnxruntime.so.*"),
}


def compile_lleaves(text, out):
    """A shared library with `forest_root`, which gives raw margins; lleaves' defaults but for the small code model, which
    its documentation calls the faster one."""
    import lleaves

    unlinked = out.with_suffix(".o")
    unlinked.unlink(missing_ok=True)
    lleaves.Model(str(text)).compile(cache=str(unlinked), raw_score=True, fcodemodel="small")
    subprocess.run(["cc", "-shared", "-o", str(out), str(unlinked)], check=True)
    unlinked.unlink()


def compile_tl2cgen(text, out):
    """A shared library with `predict`, thresholds as ranks (tl2cgen's `quantize`)."""
    import tl2cgen
    import treelite

    model = treelite.frontend.load_lightgbm_model(str(text))
    tl2cgen.export_lib(model, toolchain="gcc", libpath=out, params={"quantize": 1, "parallel_comp": 16})


def convert_onnx(text, out):
    """One TreeEnsembleRegressor that gives raw margins: what onnxmltools converts, without the classifier's label and
    transform, which would only cost ONNX Runtime time."""
    import lightgbm
    import onnx
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    shape = FloatTensorType([None, models.FEATURES])
    converted = convert_lightgbm(
        lightgbm.Booster(model_file=str(text)), initial_types=[("rows", shape)], target_opset=15, zipmap=False
    )
    classifier = next(node for node in converted.graph.node if node.op_type == "TreeEnsembleClassifier")
    attributes = {}
    for attribute in classifier.attribute:
        if not attribute.name.startswith("classlabels"):
            name = attribute.name.replace("class_", "target_")
            attributes[name] = onnx.helper.get_attribute_value(attribute)
    attributes |= {"post_transform": "NONE", "n_targets": 1, "target_ids": [0] * len(attributes["target_ids"])}
    regressor = onnx.helper.make_node("TreeEnsembleRegressor", ["rows"], ["margins"], domain="ai.onnx.ml", **attributes)
    margins = onnx.helper.make_tensor_value_info("margins", onnx.TensorProto.FLOAT, [None, 1])
    graph = onnx.helper.make_graph([regressor], "forest", list(converted.graph.input), [margins])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=converted.opset_import, ir_version=converted.ir_version), out
    )


# For each kind of file: the engine, the function, the file's suffix, and the packages whose versions matter.
FORMS = {
    "lleaves": ("lleaves", compile_lleaves, "so", ["lleaves", "llvmlite"]),
    "tl2cgen": ("tl2cgen", compile_tl2cgen, "so", ["tl2cgen", "treelite"]),
    "onnx": ("ONNX Runtime", convert_onnx, "onnx", ["onnx", "onnxmltools"]),
}


def version(package):
    """A package's version, or none where it is not installed."""
    for name in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None


def not_installed(folder, package):
    """In words why a package is not there, from what `run` noted."""
    notes = folder / "not-installed.txt"
    lines = notes.read_text().splitlines() if notes.exists() else []
    why = next((line for line in lines if line.startswith((f"{package}==", f"{package}-cpu=="))), None)
    return f"not installed: {why or package}"


def processor():
    """What compiled code depends on: the processor's name and abilities."""
    wanted = ("model name", "cpu family", "flags")
    lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(wanted))


def quieten(log):
    """Sends what compilers print into a file; what goes wrong comes back as an exception."""
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def make(form, text, out):
    """Makes a file unless it is there, under another name first, so that what is there is whole."""
    if out.exists():
        return None
    started = time.monotonic()
    unfinished = out.with_stem(out.stem + "-unfinished")
    FORMS[form][1](text, unfinished)
    unfinished.rename(out)
    return time.monotonic() - started


def make_all(folder, texts, left_out):
    """For each model and form the file, where it could be made; the slowest first, as many at once as there are cores."""
    made, waiting = {}, {}
    with concurrent.futures.ProcessPoolExecutor(initializer=quieten, initargs=[folder / "compile.log"]) as pool:
        for form, (engine, function, suffix, packages) in FORMS.items():
            missing = [package for package in packages if not version(package)]
            if missing:
                left_out[engine] = not_installed(folder, missing[0])
                continue
            for name, text in texts.items():
                depends = [text.read_bytes(), *(version(p).encode() for p in packages), processor().encode()]
                depends.append(inspect.getsource(FORMS[form][1]).encode())
                digest = hashlib.sha256(b"\0".join(depends)).hexdigest()[:16]
                out = folder / f"{name}-{form}-{digest}.{suffix}"
                if not out.exists():
                    print(f"preparing {name} for {engine}, once", file=sys.stderr)
                waiting[pool.submit(make, form, text, out)] = (form, name, out)
        for future in concurrent.futures.as_completed(waiting):
            form, name, out = waiting[future]
            try:
                seconds = future.result()
                made[name, form] = out
                if seconds:
                    print(f"  {name} for {FORMS[form][0]}: {seconds:.0f} s", file=sys.stderr)
            except Exception as why:
                left_out[FORMS[form][0]] = f"{name}: {type(why).__name__}: {why}"
    return made


def find_libraries(folder, left_out):
    """The engines' shared libraries."""
    found = {}
    for engine, (package, inside) in LIBRARIES.items():
        paths = sorted(path for entry in sys.path if entry for path in pathlib.Path(entry, package).glob(inside))
        if paths:
            found[package] = str(paths[-1])
        else:
            left_out[engine] = not_installed(folder, package)
    return found


def main(folder):
    folder = pathlib.Path(folder).resolve()
    models.main(folder)
    left_out = {}
    texts = {name: folder / f"{name}.txt" for name in models.NAMES}
    made = make_all(folder, texts, left_out)

    def path(name, suffix):
        return str(folder / f"{name}.{suffix}")

    def xgboost(name):
        return {"json": path(name, "xgboost.json"), "margins": path(name, "xgboost.margins.f32")}

    plan = {
        "rows": str(folder / "rows.f64"),
        "features": models.FEATURES,
        "libraries": find_libraries(folder, left_out),
        "models": [
            {
                "name": name,
                "text": path(name, "txt"),
                "margins": path(name, "margins.f64"),
                "xgboost": xgboost(name) if version("xgboost") else None,
                **{form: str(made[name, form]) if (name, form) in made else None for form in FORMS},
            }
            for name in models.NAMES
        ],
        "versions": {p: version(p) for p in ["lightgbm", "xgboost", "lleaves", "tl2cgen", "treelite", "onnxruntime"]},
        "left_out": left_out,
    }
    (folder / "plan.json").write_text(json.dumps(plan, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
