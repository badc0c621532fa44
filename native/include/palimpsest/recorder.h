// A device's work that is the same each time, recorded once and replayed as a whole (CUDA graphs): a step
// of hundreds of kernels costs one launch, and no gap between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "palimpsest/context.h"
#include "palimpsest/device.h"
#include "palimpsest/function_ref.h"
#include "palimpsest/plugin.h"

namespace palimpsest {

// Nothing has to say what the work depends on. It runs on the host each time, but its kernels are compared,
// with grids and arguments, with those recorded, in place of being started; where all are the same, the
// recording is. Else they are started one by one, and recorded the next time. What changes from step to step
// (kernels tell which of their arguments do) is written to the device's memory before, and forces nothing.
//
// Scratch memory is the recorder's own and is kept as long as it: the recording holds its addresses.
class Recorder final : private DeviceAccess {
 public:
  // Null where the device has no such thing.
  static Status open(const std::shared_ptr<Device>& device, std::unique_ptr<Recorder>& recorder);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // How often work was recorded, replayed, and started kernel by kernel; why it is not recorded any more.
  struct Statistics {
    uint64_t recorded = 0;
    uint64_t replayed = 0;
    uint64_t plain = 0;
    std::string reason;
  };
  Statistics statistics() const;

  // Runs work(context, answers), which may only start kernels: on the context that it is given, without
  // waiting, and twice in a row where need be. Kernels write `count` numbers to `answers`; as soon as
  // work calls answered(), what it started before is enough for them. Returns when they are in `results`,
  // while the rest may still run.
  using Work = FunctionRef<Status(Context& context, double* answers)>;
  Status run(const Context& caller, const Work& work, double* results, int count);
  // See above; to be called by the work.
  Status answered();

 private:
  Recorder(std::shared_ptr<Device> device, void* handle);
  void tally(uint64_t Statistics::*what, const std::string& reason = {});
  Status pass(const Context& caller, RecorderPass how, const Work& work, bool& same);
  Status download(void* to, const void* from, size_t bytes) override;
  Status upload(void* to, const void* from, size_t bytes) override;

  std::shared_ptr<Device> device_;
  const RecorderApi& api_;
  void* handle_;
  Workspace workspace_;
  std::mutex mutex_;  // one run at a time
  // Apart, so that who asks does not wait for a run on another thread.
  mutable std::mutex statistics_mutex_;
  Statistics statistics_;
  enum class State : uint8_t { cold, warm, recorded, off } state_ = State::cold;
  RecorderPass pass_ = RecorderPass::start;
  bool waited_ = false;  // the work asked for numbers of the device
  // What changes from step to step; its size is known after the first.
  void* block_ = nullptr;
  size_t block_bytes_ = 0;
  size_t needed_ = 0;
  int changes_ = 0;  // since the last replay
};

}  // namespace palimpsest
