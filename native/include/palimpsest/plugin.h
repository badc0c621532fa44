// The door of a device plugin: a shared object that is opened at run time and hands out a kernel table
// with memory and a stream. Plain C types and function pointers, but both sides are compiled from one
// source tree: `abi`, `table_bytes` and `context_bytes` are compared before anything else is touched.
#pragma once

#include <cstddef>
#include <cstdint>

namespace palimpsest {

struct KernelTable;

inline constexpr uint32_t kPluginAbi = 1;

// A message for people.
struct PluginText {
  char text[512] = {};
};

struct PluginDevice {
  char name[128] = {};
  char features[256] = {};   // separated by commas
  char reason[256] = {};     // why it cannot be used; empty where it can
  uint64_t memory_bytes = 0;
};

// Functions that can fail return false or null and say why. `device` is what open() returned. All
// work on a device is done in the order in which it was asked for (one stream).
struct PluginApi {
  uint32_t abi;
  uint32_t table_bytes;
  uint32_t context_bytes;
  const char* kind;  // "cuda": devices are cuda:0 …

  int (*count)(PluginText* reason);  // 0 with a reason where there is none
  void (*describe)(int index, PluginDevice* description);
  void* (*open)(int index, PluginText* reason);
  void (*close)(void* device);
  // To be called on every thread before it uses the device.
  void (*enter)(void* device);
  const KernelTable* (*kernels)(void* device);

  void* (*allocate)(void* device, size_t bytes);  // null when there is no memory
  void (*release)(void* device, void* pointer);
  // From the host: the source may be changed when this returns.
  bool (*upload)(void* device, void* to, const void* from, size_t bytes, PluginText* reason);
  // To the host: waits for the data, and so for everything before it.
  bool (*download)(void* device, void* to, const void* from, size_t bytes, PluginText* reason);
  bool (*copy)(void* device, void* to, const void* from, size_t bytes, PluginText* reason);
  bool (*synchronize)(void* device, PluginText* reason);
};

// The one symbol of a plugin.
using PluginEntry = const PluginApi* (*)();
inline constexpr const char* kPluginEntry = "palimpsest_plugin";

}  // namespace palimpsest
