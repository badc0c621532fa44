// Devices other than the CPU: plugins, their memory, and what an engine keeps for one of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"
#include "palimpsest/plugin.h"
#include "palimpsest/status.h"

namespace palimpsest {

// Opens the plugin at `path`; it stays open as long as the process lives.
Status open_plugin(const std::string& path, const PluginApi*& plugin);

// What a kernel that answers nothing throws where its device does not have it.
struct NotOnDevice {
  Status status;
};

struct MemoryStatistics {
  size_t in_use = 0;     // bytes that are handed out
  size_t cached = 0;     // bytes that wait to be handed out again
  size_t peak = 0;       // the most that was ever handed out
  size_t limit = 0;      // in_use + cached stays below
  uint64_t requests = 0;
  uint64_t reused = 0;   // requests that needed no new memory
};

// Keeps what is released for the next request of its size. Reuse needs no waiting, because all work on
// a device is done in order. Safe from several threads.
class DeviceMemory {
 public:
  DeviceMemory(const PluginApi& api, void* device) : api_(api), device_(device) {}
  ~DeviceMemory() { trim(); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* allocate(size_t bytes);  // null when there is no memory
  void release(void* pointer);
  // Gives what is cached back to the device.
  void trim();
  void set_limit(size_t bytes);
  MemoryStatistics statistics() const;

 private:
  void trim_locked();

  const PluginApi& api_;
  void* device_;
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;     // by size
  std::unordered_map<void*, size_t> handed_out_;  // sizes
  MemoryStatistics statistics_{0, 0, 0, SIZE_MAX, 0, 0};
};

// One device as one engine (Node environment) uses it: its own stream and memory.
class Device : public std::enable_shared_from_this<Device>, private DeviceAccess {
 public:
  static Status open(const PluginApi& api, int index, std::shared_ptr<Device>& device);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& id() const { return id_; }  // "cuda:0"
  DeviceMemory& memory() { return memory_; }

  Status upload(void* to, const void* from, size_t bytes) override;
  Status download(void* to, const void* from, size_t bytes) override;
  Status copy(void* to, const void* from, size_t bytes);
  Status synchronize();
  // Milliseconds of the device's work between clock(0) and clock(1), in `milliseconds` after the second.
  Status clock(int point, double& milliseconds);

  const PluginApi& api() const { return api_; }
  void* handle() const { return handle_; }
  // For scratch memory from memory().
  MemorySource scratch_source();

  // A context for work on the calling thread, with scratch memory that nobody else uses meanwhile.
  class Lease {
   public:
    Lease(Device& device, const std::atomic<bool>* abort);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

   private:
    Device& device_;
    std::unique_ptr<Workspace> workspace_;

   public:
    Context context;
  };

 private:
  Device(const PluginApi& api, void* handle, std::string id);
  std::unique_ptr<Workspace> borrow();

  const PluginApi& api_;
  void* handle_;
  std::string id_;
  KernelTable kernels_;
  DeviceMemory memory_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace palimpsest
