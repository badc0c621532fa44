// One call from JavaScript. Buffers are the JavaScript arguments, in order; everything else (numbers,
// shapes, strides) stands in the argument block, a Float64Array that both sides see, because reading
// it costs a few nanoseconds where reading a property costs a hundred. lib/engine/call.ts writes what
// this class reads, in the same order.
//
// A binding is a function `auto name(Call& call)` that reads its arguments and returns the work, a
// callable `Status(Context&)`. Written once, it serves the synchronous call, which works on
// JavaScript's memory, and the asynchronous one, which works on copies: inputs are copied before,
// outputs after, so that a buffer that is detached, changed or collected meanwhile does no harm and
// an aborted call leaves everything as it was.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "palimpsest/device.h"
#include "palimpsest/engine.h"
#include "palimpsest/recorder.h"
#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest::addon {

// Lives as long as its Node environment.
struct Instance {
  Engine engine;
  double* block = nullptr;  // the argument block
  Napi::Reference<Napi::Float64Array> block_reference;
  Napi::FunctionReference make_error;  // (code, message) → Error, set by lib/engine/native.ts
  // Asynchronous calls under way, by number, with the flag that aborts them.
  std::vector<std::pair<uint32_t, std::atomic<bool>*>> jobs;
  uint32_t next_job = 1;
  // Devices that were opened; JavaScript knows them by their place here.
  std::vector<std::shared_ptr<Device>> devices;

  // Runs work where its buffers are: on the CPU where `device` is null.
  template <typename Work>
  Status run(Device* device, const std::atomic<bool>* abort, Work& work) {
    if (device != nullptr) {
      Device::Lease lease(*device, abort);
      return work(lease.context);
    }
    Context context = engine.context(abort);
    return work(context);
  }
};
inline constexpr size_t kBlockLength = size_t{1} << 16;

// Memory of a device, held by JavaScript as an external value.
struct DeviceBuffer {
  std::shared_ptr<Device> device;
  std::byte* data;  // null once released
  size_t bytes;
};
// The buffer that a JavaScript value holds, or null where it holds none.
DeviceBuffer* device_buffer_of(napi_env env, napi_value value);
// Marks an external value as one of ours.
void tag_device_buffer(napi_env env, napi_value value);

// A recorder, held by JavaScript as an external value; null where the value holds none.
struct RecorderHandle {
  std::shared_ptr<Recorder> recorder;
  const Device* device;
};
RecorderHandle* recorder_of(napi_env env, napi_value value);
void tag_recorder(napi_env env, napi_value value);

// Thrown while arguments are read; becomes a typed JavaScript error.
struct Refused {
  Status status;
};
[[noreturn]] inline void refuse(Code code, std::string message) {
  throw Refused{Status(code, std::move(message))};
}

Napi::Value to_error(Napi::Env env, const Status& status);

enum class Access : uint8_t { read, write, update };  // update: read and written

class Call {
 public:
  enum class Mode : uint8_t { sync, async };

  Call(napi_env env, napi_callback_info info, Instance& instance, Mode mode);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // The next number of the argument block.
  double number() { return block_[at_ < kBlockLength ? at_++ : at_]; }
  // The next number, an integer in [low, high].
  int64_t integer(const char* name, int64_t low, int64_t high);
  bool flag() { return number() != 0; }
  // The next numbers and flags, in order.
  template <typename... Fields>
  void read(Fields&... fields) {
    ((fields = static_cast<Fields>(number())), ...);
  }
  template <typename Enum>
  Enum choice(const char* name, Enum last) {
    return static_cast<Enum>(integer(name, 0, static_cast<int64_t>(last)));
  }

  // The next buffer argument with the next view of the block: dtype, offset, rank, shape, strides.
  // Every element that the view reaches has been found to lie in the buffer.
  View view(const char* name, Access access);
  // The same, or a view without data where JavaScript passed null (nothing stands in the block).
  View optional_view(const char* name, Access access);
  // The next argument is an array of buffers: the block holds their count, then their views.
  std::vector<View> views(const char* name, Access access);

  // The next argument is a recorder, or null. Throws Refused where it is of another device.
  std::shared_ptr<Recorder> optional_recorder();

  // A number that the work may set; the call returns it (an array of them where there are several).
  double* result();

  // Where the buffers are: null for the CPU.
  Device* device() const { return device_; }

  // For the asynchronous form.
  void publish_outputs(Napi::Env env);  // copies outputs back; throws Refused if one is detached
  Napi::Value results(Napi::Env env) const;

 private:
  struct Copy {
    Napi::Reference<Napi::Value> owner;  // the typed array or device buffer
    size_t argument_offset;              // bytes from its start
    std::shared_ptr<Device> device;      // null: host memory
    std::byte* bytes;
    size_t size;
    Access access;

    Copy() = default;
    Copy(Copy&& other) noexcept;
    ~Copy();
  };

  napi_value next_argument(const char* name);
  void place(Device* device, const char* name);
  View read_view(napi_value buffer, const char* name, Access access);

  static constexpr size_t kMaxArguments = 32;
  static constexpr size_t kMaxResults = 8;

  napi_env env_;
  const double* block_;
  size_t at_ = 0;
  Mode mode_;
  napi_value arguments_[kMaxArguments];
  size_t argument_count_ = kMaxArguments;
  size_t next_ = 0;
  double results_[kMaxResults] = {};
  size_t result_count_ = 0;
  std::vector<Copy> copies_;
  Device* device_ = nullptr;
  const char* placed_ = nullptr;  // the first buffer's name
};

}  // namespace palimpsest::addon
