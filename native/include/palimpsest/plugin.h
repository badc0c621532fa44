// The door of a device plugin: a shared object that is opened at run time and hands out a kernel table
// with memory and a stream. Plain C types and function pointers, but both sides are compiled from one
// source tree: `abi`, `table_bytes` and `context_bytes` are compared before anything else is touched.
#pragma once

#include <cstddef>
#include <cstdint>

namespace palimpsest {

struct KernelTable;

inline constexpr uint32_t kPluginAbi = 2;

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

// How kernels are treated that are started with a recorder in their context.
enum class RecorderPass : int {
  start,    // run at once, as without one
  record,   // kept for later, with all their arguments
  compare,  // not run: only compared with what was recorded
};

// Work that is recorded once and replayed in one go (CUDA graphs). What changes from one replay to the next
// (learning rates, places of gradients) lies in a block of the device's memory that is written anew each time.
struct RecorderApi {
  static constexpr int kAnswers = 8;

  // A recorder: stands where open()'s device stands in a Context.
  void* (*open)(void* device, PluginText* reason);
  void (*close)(void* recorder);
  // A pass from begin() to end(). `block` of `bytes` is the device's, and is not used by RecorderPass::start.
  bool (*begin)(void* recorder, RecorderPass pass, void* block, size_t bytes, PluginText* reason);
  // What was started since begin() writes answers(): they can be waited for while the rest goes on.
  bool (*answered)(void* recorder, PluginText* reason);
  // Ends a pass. Where `go`, what was recorded last is run: false where that cannot be, or is not the same
  // as the pass that was compared. `needed`: the bytes of block that the pass used or would have.
  bool (*end)(void* recorder, bool go, size_t* needed, PluginText* reason);
  // kAnswers numbers of the host's memory that kernels can write.
  double* (*answers)(void* recorder);
  // Until the first `count` of them are there.
  bool (*wait)(void* recorder, int count, PluginText* reason);
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
  // Milliseconds between two points of a device's work, by its own clock: 0 marks the first, 1 the second,
  // which is waited for.
  bool (*clock)(void* device, int point, double* milliseconds, PluginText* reason);

  const RecorderApi* recorder = nullptr;  // null where there is no such thing
};

// The one symbol of a plugin.
using PluginEntry = const PluginApi* (*)();
inline constexpr const char* kPluginEntry = "palimpsest_plugin";

}  // namespace palimpsest
