# SPDX-License-Identifier: Apache-2.0
"""Drives the plugin library through the real TensorRT registry; one JSON object on stdout.

Run by test_tensorrt_registry.py in a process of its own: the registry is process-wide, and the lean
runtime may end the process in ways that a test runner should survive.
"""

import ctypes
import json
import sys

import numpy as np
import tensorrt_lean as trt

FIELD_TYPES = {
    "int32": (trt.PluginFieldType.INT32, np.int32),
    "int64": (trt.PluginFieldType.INT64, np.int64),
    "float32": (trt.PluginFieldType.FLOAT32, np.float32),
    "char": (trt.PluginFieldType.CHAR, None),
}


def field(name, kind, value):
    field_type, dtype = FIELD_TYPES[kind]
    data = value.encode() if dtype is None else np.array(value, dtype).reshape(-1)
    return trt.PluginField(name, data, field_type), data


def names(registry):
    return [c.name for c in registry.all_creators]


def main(library, request):
    registry = trt.get_plugin_registry()
    if request["opened_first"]:  # as hosts do that know plugin libraries only as libraries
        ctypes.CDLL(library)
    opened = names(registry)
    handle = registry.load_library(library)
    ours = ctypes.CDLL(library)
    ours.dovetailLastError.restype = ctypes.c_char_p
    ours.initDovetailPlugins.restype = ctypes.c_bool
    named = [ours.initDovetailPlugins(None, n.encode()) for n in request["namespaces"]]
    answer = {
        "loaded": handle is not None,
        "named": named,
        "in_namespaces": {
            n: [c.name for c in registry.all_creators if c.plugin_namespace == n]
            for n in request["namespaces"]
        },
        "opened": [name for name in opened if name in request["ops"]],
        "creators": [
            {
                "name": c.name,
                "version": c.plugin_version,
                "namespace": c.plugin_namespace,
                "fields": {f.name: f.type.name for f in c.field_names},
            }
            for c in registry.all_creators
            if c.name in request["ops"]
        ],
        "created": [],
    }
    for case in request["cases"]:
        creator = registry.get_creator(case["op"], "1", "")
        pairs = [field(*f) for f in case["fields"]]
        phase = getattr(trt.TensorRTPhase, case.get("phase", "BUILD"))
        plugin = creator.create_plugin(
            "node", trt.PluginFieldCollection([p for p, _ in pairs]), phase
        )
        result = {"ok": plugin is not None}
        if plugin is None:
            result["message"] = ours.dovetailLastError().decode()
        else:
            kinds = trt.PluginCapabilityType
            core = plugin.get_capability_interface(kinds.CORE)
            build = plugin.get_capability_interface(kinds.BUILD)
            runtime = plugin.get_capability_interface(kinds.RUNTIME)
            result.update(
                name=core.plugin_name,
                version=core.plugin_version,
                namespace=core.plugin_namespace,
                outputs=build.num_outputs,
                runtime=type(runtime).__name__,
                build=type(build).__name__,
            )
        answer["created"].append(result)
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
