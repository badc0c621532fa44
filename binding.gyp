{
  # For people who have no CMake: node-gyp rebuild. The same rule finds the sources as in
  # CMakeLists.txt (scripts/sources.cjs); each instruction set is a library with flags of its own.
  "variables": {
    "common_flags": ["-std=c++20", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"],
    "avx2_flags": ["-mavx2", "-mfma", "-mf16c", "-mbmi2"],
    "avx512_flags": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512", "-Wno-maybe-uninitialized", "-Wno-uninitialized"]
  },
  "target_defaults": {
    "include_dirs": ["native/include", "native", "<!@(node -p \"require('node-addon-api').include\")", "<!@(node -p \"require('node-api-headers').include_dir\")"],
    "defines": ["NAPI_VERSION=8"],
    "cflags!": ["-fno-exceptions", "-O3", "-O2"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["<@(common_flags)"]
  },
  "targets": [
    {
      "target_name": "engine_avx2",
      "type": "static_library",
      "sources": ["<!@(node scripts/sources.cjs avx2)"],
      "cflags_cc": ["<@(avx2_flags)"]
    },
    {
      "target_name": "engine_avx512",
      "type": "static_library",
      "sources": ["<!@(node scripts/sources.cjs avx512)"],
      "cflags_cc": ["<@(avx2_flags)", "<@(avx512_flags)"]
    },
    {
      "target_name": "engine_avx512bf16",
      "type": "static_library",
      "sources": ["<!@(node scripts/sources.cjs avx512bf16)"],
      "cflags_cc": ["<@(avx2_flags)", "<@(avx512_flags)", "-mavx512bf16"]
    },
    {
      "target_name": "engine_amx",
      "type": "static_library",
      "sources": ["<!@(node scripts/sources.cjs amx)"],
      "cflags_cc": ["<@(avx2_flags)", "<@(avx512_flags)", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]
    },
    {
      "target_name": "palimpsest",
      "dependencies": ["engine_avx2", "engine_avx512", "engine_avx512bf16", "engine_amx"],
      "sources": ["<!@(node scripts/sources.cjs base)", "<!@(node scripts/sources.cjs addon)"],
      "libraries": ["-lpthread", "-ldl"],
      "ldflags": ["-static-libstdc++", "-static-libgcc", "-Wl,-z,nodelete"]
    }
  ]
}
