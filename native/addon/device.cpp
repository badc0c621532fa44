// Devices and their memory, for JavaScript. A device is known by its place in Instance::devices, a
// buffer is an external value that gives its memory back when it is released or collected.

#include <cmath>
#include <memory>
#include <utility>

#include "addon/bindings.h"
#include "palimpsest/device.h"

namespace palimpsest::addon {
namespace {

Instance& instance_of(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

// Runs `body(info)`, throwing what goes wrong as a typed error.
template <typename Body>
napi_value checked(napi_env env, napi_callback_info raw, const Body& body) {
  const Napi::CallbackInfo info(env, raw);
  napi_value result = nullptr;
  const Status status = guarded([&]() -> Status {
    result = body(info);
    return {};
  });
  if (status.ok()) return result;
  napi_throw(env, to_error(env, status));
  return nullptr;
}

void require(Status status) {
  if (!status.ok()) throw Refused{std::move(status)};
}

// pluginDevices(path): [{ name, features, memoryBytes, reason }], or the reason why there is none.
napi_value plugin_devices(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [](const Napi::CallbackInfo& info) -> napi_value {
    const Napi::Env e = info.Env();
    const PluginApi* api = nullptr;
    const Status status = open_plugin(info[0].ToString().Utf8Value(), api);
    if (!status.ok()) return Napi::String::New(e, status.message());
    PluginText reason;
    const int count = api->count(&reason);
    if (count == 0) return Napi::String::New(e, reason.text);
    Napi::Array list = Napi::Array::New(e, static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      PluginDevice found;
      api->describe(i, &found);
      Napi::Object description = Napi::Object::New(e);
      description.Set("name", found.name);
      description.Set("features", found.features);
      description.Set("memoryBytes", static_cast<double>(found.memory_bytes));
      description.Set("reason", found.reason);
      list.Set(static_cast<uint32_t>(i), description);
    }
    return list;
  });
}

// openDevice(path, index): the device's number.
napi_value open_device(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [](const Napi::CallbackInfo& info) -> napi_value {
    const PluginApi* api = nullptr;
    require(open_plugin(info[0].ToString().Utf8Value(), api));
    std::shared_ptr<Device> device;
    require(Device::open(*api, info[1].ToNumber().Int32Value(), device));
    auto& devices = instance_of(info.Env()).devices;
    devices.push_back(std::move(device));
    return Napi::Number::New(info.Env(), static_cast<double>(devices.size() - 1));
  });
}

Device& device_of(const Napi::CallbackInfo& info) {
  const auto& devices = instance_of(info.Env()).devices;
  const uint32_t number = info[0].ToNumber().Uint32Value();
  if (number >= devices.size()) refuse(Code::internal, "no such device was opened");
  return *devices[number];
}

// Returns a buffer's memory to its device and tells V8.
void give_back(napi_env env, DeviceBuffer& buffer) {
  if (buffer.data == nullptr) return;
  buffer.device->memory().release(std::exchange(buffer.data, nullptr));
  int64_t total = 0;
  napi_adjust_external_memory(env, -static_cast<int64_t>(buffer.bytes), &total);
}

// allocateBuffer(device, bytes): memory whose contents are undefined.
napi_value allocate_buffer(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    Device& device = device_of(info);
    const double bytes = info[1].ToNumber().DoubleValue();
    void* data = device.memory().allocate(static_cast<size_t>(bytes));
    if (data == nullptr) {
      const MemoryStatistics memory = device.memory().statistics();
      refuse(Code::device, "no memory for " + std::to_string(static_cast<uint64_t>(bytes)) +
                               " bytes on " + device.id() + ": " + std::to_string(memory.in_use) +
                               " are in use, " + std::to_string(memory.cached) + " cached");
    }
    auto buffer = std::make_unique<DeviceBuffer>(DeviceBuffer{
        device.shared_from_this(), static_cast<std::byte*>(data), static_cast<size_t>(bytes)});
    napi_value value = nullptr;
    const auto finalise = [](napi_env e, void* pointer, void*) {
      const std::unique_ptr<DeviceBuffer> owned(static_cast<DeviceBuffer*>(pointer));
      give_back(e, *owned);
    };
    if (napi_create_external(env, buffer.get(), finalise, nullptr, &value) != napi_ok) {
      device.memory().release(data);
      refuse(Code::internal, "a buffer could not be handed to JavaScript");
    }
    DeviceBuffer& handed = *buffer.release();
    int64_t total = 0;
    napi_adjust_external_memory(env, static_cast<int64_t>(handed.bytes), &total);
    tag_device_buffer(env, value);
    return value;
  });
}

DeviceBuffer& live_buffer(napi_env env, napi_value value) {
  DeviceBuffer* buffer = device_buffer_of(env, value);
  if (buffer == nullptr) refuse(Code::argument, "expected memory of a device");
  if (buffer->data == nullptr) refuse(Code::disposed, "the memory was released");
  return *buffer;
}

// releaseBuffer(buffer): now, not when it is collected.
napi_value release_buffer(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    if (DeviceBuffer* buffer = device_buffer_of(env, info[0])) give_back(env, *buffer);
    return nullptr;
  });
}

struct HostRange {
  std::byte* data;
  size_t bytes;
};
HostRange host_range(const Napi::CallbackInfo& info, size_t at) {
  const auto array = info[at].As<Napi::TypedArray>();
  return {static_cast<std::byte*>(array.ArrayBuffer().Data()) + array.ByteOffset(),
          array.ByteLength()};
}

// The bytes [offset, offset + bytes) of a device buffer, an element range that lies in it.
std::byte* range_of(const DeviceBuffer& buffer, double offset, size_t bytes) {
  if (!(offset >= 0) || offset + static_cast<double>(bytes) > static_cast<double>(buffer.bytes)) {
    refuse(Code::shape, "a copy reaches outside its device buffer");
  }
  return buffer.data + static_cast<size_t>(offset);
}

// upload(buffer, array): array → the start of the buffer.
napi_value upload(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    const DeviceBuffer& buffer = live_buffer(env, info[0]);
    const HostRange from = host_range(info, 1);
    if (from.bytes > 0) {
      require(buffer.device->upload(range_of(buffer, 0, from.bytes), from.data, from.bytes));
    }
    return nullptr;
  });
}

// download(buffer, byteOffset, array): waits for the data.
napi_value download(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    const DeviceBuffer& buffer = live_buffer(env, info[0]);
    const HostRange to = host_range(info, 2);
    const std::byte* from = range_of(buffer, info[1].ToNumber().DoubleValue(), to.bytes);
    if (to.bytes > 0) require(buffer.device->download(to.data, from, to.bytes));
    return nullptr;
  });
}

// Waits for a device on another thread. Neither buffer nor array may be used by others meanwhile.
class Download final : public Napi::AsyncWorker {
 public:
  Download(const Napi::CallbackInfo& info, const DeviceBuffer& buffer, const std::byte* from,
           HostRange to)
      : Napi::AsyncWorker(info.Env()),
        device_(buffer.device),
        from_(from),
        to_(to),
        buffer_(Napi::Persistent(info[0])),
        array_(Napi::Persistent(info[2])),
        deferred_(Napi::Promise::Deferred::New(info.Env())) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    if (to_.bytes > 0) status_ = device_->download(to_.data, from_, to_.bytes);
  }
  void OnOK() override {
    if (status_.ok()) {
      deferred_.Resolve(array_.Value());
    } else {
      deferred_.Reject(to_error(Env(), status_));
    }
  }

 private:
  std::shared_ptr<Device> device_;
  const std::byte* from_;
  HostRange to_;
  Napi::Reference<Napi::Value> buffer_;
  Napi::Reference<Napi::Value> array_;
  Napi::Promise::Deferred deferred_;
  Status status_;
};

// downloadAsync(buffer, byteOffset, array): a promise of the array.
napi_value download_async(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    const DeviceBuffer& buffer = live_buffer(env, info[0]);
    const HostRange to = host_range(info, 2);
    const std::byte* from = range_of(buffer, info[1].ToNumber().DoubleValue(), to.bytes);
    auto* worker = new Download(info, buffer, from, to);
    const Napi::Promise promise = worker->promise();
    worker->Queue();  // deletes itself when done
    return promise;
  });
}

// deviceMemory(device, limit?): statistics, after setting the limit in bytes where one is given.
napi_value device_memory(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [](const Napi::CallbackInfo& info) -> napi_value {
    DeviceMemory& memory = device_of(info).memory();
    if (info.Length() > 1 && info[1].IsNumber()) {
      const double limit = info[1].ToNumber().DoubleValue();
      memory.set_limit(limit < 9e15 ? static_cast<size_t>(limit) : SIZE_MAX);
    }
    const MemoryStatistics now = memory.statistics();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("inUse", static_cast<double>(now.in_use));
    result.Set("cached", static_cast<double>(now.cached));
    result.Set("peak", static_cast<double>(now.peak));
    result.Set("limit", now.limit == SIZE_MAX ? INFINITY : static_cast<double>(now.limit));
    result.Set("requests", static_cast<double>(now.requests));
    result.Set("reused", static_cast<double>(now.reused));
    return result;
  });
}

// trimDevice(device): gives cached memory back.
napi_value trim_device(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [](const Napi::CallbackInfo& info) -> napi_value {
    device_of(info).memory().trim();
    return nullptr;
  });
}

// synchronizeDevice(device): waits until all work is done.
napi_value synchronize_device(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [](const Napi::CallbackInfo& info) -> napi_value {
    require(device_of(info).synchronize());
    return nullptr;
  });
}

// clockDevice(device, point): milliseconds of the device's work from point 0 to point 1; 0 at the first.
napi_value clock_device(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [](const Napi::CallbackInfo& info) -> napi_value {
    double milliseconds = 0;
    require(device_of(info).clock(info[1].ToNumber().Int32Value(), milliseconds));
    return Napi::Number::New(info.Env(), milliseconds);
  });
}

// makeRecorder(device): null where the device has no such thing.
napi_value make_recorder(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    Device& device = device_of(info);
    std::unique_ptr<Recorder> recorder;
    require(Recorder::open(device.shared_from_this(), recorder));
    if (recorder == nullptr) return info.Env().Null();
    auto held = std::make_unique<RecorderHandle>(RecorderHandle{std::move(recorder), &device});
    napi_value value = nullptr;
    const auto finalise = [](napi_env, void* pointer, void*) { delete static_cast<RecorderHandle*>(pointer); };
    if (napi_create_external(env, held.get(), finalise, nullptr, &value) != napi_ok) {
      refuse(Code::internal, "a recorder could not be handed to JavaScript");
    }
    held.release();  // NOLINT: the finaliser's now
    tag_recorder(env, value);
    return value;
  });
}

// recorderStatistics(recorder): { recorded, replayed, plain, reason }.
napi_value recorder_statistics(napi_env env, napi_callback_info raw) {
  return checked(env, raw, [env](const Napi::CallbackInfo& info) -> napi_value {
    const RecorderHandle* held = recorder_of(env, info[0]);
    if (held == nullptr) refuse(Code::argument, "expected a recorder");
    const Recorder::Statistics now = held->recorder->statistics();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("recorded", static_cast<double>(now.recorded));
    result.Set("replayed", static_cast<double>(now.replayed));
    result.Set("plain", static_cast<double>(now.plain));
    if (!now.reason.empty()) result.Set("reason", now.reason);
    return result;
  });
}

}  // namespace

void register_device(Exports& exports) {
  exports.set("pluginDevices", plugin_devices);
  exports.set("openDevice", open_device);
  exports.set("allocateBuffer", allocate_buffer);
  exports.set("releaseBuffer", release_buffer);
  exports.set("upload", upload);
  exports.set("download", download);
  exports.set("downloadAsync", download_async);
  exports.set("deviceMemory", device_memory);
  exports.set("trimDevice", trim_device);
  exports.set("synchronizeDevice", synchronize_device);
  exports.set("clockDevice", clock_device);
  exports.set("makeRecorder", make_recorder);
  exports.set("recorderStatistics", recorder_statistics);
}

}  // namespace palimpsest::addon
