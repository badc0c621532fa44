#include "addon/call.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

namespace palimpsest::addon {
namespace {

const char* error_code(Code code) {
  constexpr const char* names[] = {"OK",       "ARGUMENT",  "SHAPE",  "DTYPE", "DEVICE",
                                   "DISPOSED", "NUMERICAL", "FORMAT", "ABORT", "INTERNAL"};
  return names[static_cast<int>(code)];
}

bool holds(napi_typedarray_type type, DType dtype) {
  switch (dtype) {
    case DType::f32: return type == napi_float32_array;
    case DType::f64: return type == napi_float64_array;
    case DType::bf16: return type == napi_uint16_array;
    case DType::i32: return type == napi_int32_array;
    case DType::u8:
    case DType::boolean: return type == napi_uint8_array;
  }
  return false;
}

std::string quoted(const char* name) {
  std::string text("'");
  text += name;
  text += '\'';
  return text;
}

struct Buffer {
  std::byte* data;
  size_t length;  // elements
  std::shared_ptr<Device> device;
};

Buffer buffer_of(napi_env env, napi_value value, const char* name, DType dtype) {
  bool is_typed_array = false;
  napi_is_typedarray(env, value, &is_typed_array);
  if (!is_typed_array) {
    const DeviceBuffer* buffer = device_buffer_of(env, value);
    if (buffer == nullptr) refuse(Code::argument, quoted(name) + " must be a typed array");
    if (buffer->data == nullptr) refuse(Code::disposed, quoted(name) + " is a disposed buffer");
    return {buffer->data, buffer->bytes / size_of(dtype), buffer->device};
  }
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value array_buffer = nullptr;
  size_t byte_offset = 0;
  napi_get_typedarray_info(env, value, &type, &length, &data, &array_buffer, &byte_offset);
  if (!holds(type, dtype)) {
    refuse(Code::dtype, quoted(name) + " is no typed array of " + name_of(dtype));
  }
  if (length == 0) {
    bool detached = false;
    if (napi_is_detached_arraybuffer(env, array_buffer, &detached) == napi_ok && detached) {
      refuse(Code::disposed, quoted(name) + " is a detached buffer");
    }
  }
  return {static_cast<std::byte*>(data), length, nullptr};
}

constexpr napi_type_tag kDeviceBufferTag = {0x8f1c5a0e3b7d4962, 0xb42e6d91a7c05f38};
constexpr napi_type_tag kRecorderTag = {0x41d07ac9e2385b16, 0x9d63f20b8e15c74a};

// What an external value of ours holds, or null where it is none.
void* external_of(napi_env env, napi_value value, const napi_type_tag& tag) {
  napi_valuetype type;
  bool tagged = false;
  void* data = nullptr;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
      napi_check_object_type_tag(env, value, &tag, &tagged) != napi_ok || !tagged ||
      napi_get_value_external(env, value, &data) != napi_ok) {
    return nullptr;
  }
  return data;
}

}  // namespace

DeviceBuffer* device_buffer_of(napi_env env, napi_value value) {
  return static_cast<DeviceBuffer*>(external_of(env, value, kDeviceBufferTag));
}
RecorderHandle* recorder_of(napi_env env, napi_value value) {
  return static_cast<RecorderHandle*>(external_of(env, value, kRecorderTag));
}
void tag_recorder(napi_env env, napi_value value) { napi_type_tag_object(env, value, &kRecorderTag); }

void tag_device_buffer(napi_env env, napi_value value) {
  napi_type_tag_object(env, value, &kDeviceBufferTag);
}

Napi::Value to_error(Napi::Env env, const Status& status) {
  const auto* instance = env.GetInstanceData<Instance>();
  if (instance->make_error.IsEmpty()) return Napi::Error::New(env, status.message()).Value();
  return instance->make_error.Call({Napi::String::New(env, error_code(status.code())),
                                    Napi::String::New(env, status.message())});
}

Call::Call(napi_env env, napi_callback_info info, Instance& instance, Mode mode)
    : env_(env), block_(instance.block), mode_(mode) {
  napi_get_cb_info(env, info, &argument_count_, arguments_, nullptr, nullptr);
  if (argument_count_ > kMaxArguments) argument_count_ = kMaxArguments;
}

int64_t Call::integer(const char* name, int64_t low, int64_t high) {
  const double value = number();
  if (!(value >= static_cast<double>(low) && value <= static_cast<double>(high)) ||
      value != std::floor(value)) {
    refuse(Code::argument, quoted(name) + " must be an integer in [" + std::to_string(low) + ", " +
                               std::to_string(high) + "], but is " + std::to_string(value));
  }
  return static_cast<int64_t>(value);
}

napi_value Call::next_argument(const char* name) {
  if (next_ >= argument_count_) refuse(Code::argument, quoted(name) + " is missing");
  return arguments_[next_++];
}

View Call::view(const char* name, Access access) {
  return read_view(next_argument(name), name, access);
}

View Call::optional_view(const char* name, Access access) {
  napi_value value = next_argument(name);
  napi_valuetype type;
  napi_typeof(env_, value, &type);
  if (type == napi_null || type == napi_undefined) return {};
  return read_view(value, name, access);
}

std::shared_ptr<Recorder> Call::optional_recorder() {
  const RecorderHandle* held = recorder_of(env_, next_argument("recorder"));
  if (held == nullptr) return nullptr;
  if (held->device != device_) refuse(Code::device, "'recorder' is another device's than the parameters'");
  return held->recorder;
}

std::vector<View> Call::views(const char* name, Access access) {
  napi_value list = next_argument(name);
  uint32_t length = 0;
  if (napi_get_array_length(env_, list, &length) != napi_ok) {
    refuse(Code::argument, quoted(name) + " must be an array of typed arrays");
  }
  integer(name, length, length);
  std::vector<View> result;
  result.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    napi_value element;
    napi_get_element(env_, list, i, &element);
    result.push_back(read_view(element, name, access));
  }
  return result;
}

View Call::read_view(napi_value value, const char* name, Access access) {
  constexpr int64_t kLimit = int64_t{1} << 53;
  View view;
  view.dtype = choice<DType>(name, DType::boolean);
  const int64_t offset = integer(name, 0, kLimit);
  view.rank = static_cast<int>(integer(name, 0, kMaxRank));
  for (int i = 0; i < view.rank; ++i) view.shape[i] = integer(name, 0, kLimit);
  for (int i = 0; i < view.rank; ++i) view.strides[i] = integer(name, -kLimit, kLimit);

  const Buffer buffer = buffer_of(env_, value, name, view.dtype);
  // The lowest and highest element reached; in double first, where nothing overflows.
  double low = static_cast<double>(offset);
  double high = low;
  bool empty = false;
  for (int i = 0; i < view.rank; ++i) {
    empty = empty || view.shape[i] == 0;
    const double span =
        static_cast<double>(view.shape[i] - 1) * static_cast<double>(view.strides[i]);
    (span < 0 ? low : high) += span;
  }
  const size_t width = size_of(view.dtype);
  if (empty) {
    place(buffer.device.get(), name);
    view.data = buffer.data;
    return view;
  }
  if (low < 0 || high >= static_cast<double>(buffer.length)) {
    refuse(Code::shape, quoted(name) + " reaches outside its buffer of " +
                            std::to_string(buffer.length) + " elements");
  }
  if (access != Access::read) {
    for (int i = 0; i < view.rank; ++i) {
      if (view.strides[i] == 0 && view.shape[i] > 1) {
        refuse(Code::shape, quoted(name) + " is written to and must not be broadcast");
      }
    }
  }
  place(buffer.device.get(), name);
  if (mode_ == Mode::sync) {
    view.data = buffer.data + static_cast<size_t>(offset) * width;
    return view;
  }
  // Copies the range that is reached. Overlapping arguments get separate copies: bindings that have
  // an asynchronous form take no aliased arguments.
  const auto first = static_cast<size_t>(low);
  const auto last = static_cast<size_t>(high);
  Copy copy;
  copy.owner = Napi::Persistent(Napi::Value(env_, value));
  copy.argument_offset = first * width;
  copy.size = (last - first + 1) * width;
  copy.device = buffer.device;
  copy.access = access;
  copy.bytes = static_cast<std::byte*>(copy.device ? copy.device->memory().allocate(copy.size)
                                                   : std::malloc(copy.size));
  if (copy.bytes == nullptr) throw std::bad_alloc();
  // A strided output keeps what lies between its elements.
  if (access != Access::write || !view.contiguous()) {
    const std::byte* from = buffer.data + copy.argument_offset;
    if (copy.device) {
      if (Status status = copy.device->copy(copy.bytes, from, copy.size); !status.ok()) {
        throw Refused{std::move(status)};
      }
    } else {
      std::memcpy(copy.bytes, from, copy.size);
    }
  }
  view.data = copy.bytes + (static_cast<size_t>(offset) - first) * width;
  copies_.push_back(std::move(copy));
  return view;
}

Call::Copy::Copy(Copy&& other) noexcept
    : owner(std::move(other.owner)),
      argument_offset(other.argument_offset),
      device(std::move(other.device)),
      bytes(std::exchange(other.bytes, nullptr)),
      size(other.size),
      access(other.access) {}

Call::Copy::~Copy() {
  if (device) {
    device->memory().release(bytes);
  } else {
    std::free(bytes);
  }
}

// All buffers of a call lie on one device.
void Call::place(Device* device, const char* name) {
  if (placed_ != nullptr && device != device_) {
    const auto id = [](const Device* d) { return d == nullptr ? std::string("cpu") : d->id(); };
    refuse(Code::device, quoted(name) + " is on " + id(device) + " but " + quoted(placed_) + " on " +
                             id(device_) + ": bring them together with to()");
  }
  if (placed_ != nullptr) return;
  device_ = device;
  placed_ = name;
}

double* Call::result() {
  if (result_count_ == kMaxResults) refuse(Code::internal, "too many results");
  return &results_[result_count_++];
}

Napi::Value Call::results(Napi::Env env) const {
  if (result_count_ == 0) return env.Undefined();
  if (result_count_ == 1) return Napi::Number::New(env, results_[0]);
  Napi::Array array = Napi::Array::New(env, result_count_);
  for (uint32_t i = 0; i < result_count_; ++i) array.Set(i, results_[i]);
  return array;
}

void Call::publish_outputs(Napi::Env env) {
  const auto destination = [env](const Copy& copy) {
    if (copy.device) {
      const DeviceBuffer* buffer = device_buffer_of(env, copy.owner.Value());
      if (buffer->data == nullptr) {
        refuse(Code::disposed, "a tensor was disposed while an asynchronous call used it");
      }
      return buffer->data + copy.argument_offset;
    }
    const auto array = copy.owner.Value().As<Napi::TypedArray>();
    Napi::ArrayBuffer buffer = array.ArrayBuffer();
    auto* start = static_cast<std::byte*>(buffer.Data());
    if (start == nullptr || array.ByteLength() < copy.argument_offset + copy.size) {
      refuse(Code::disposed, "a buffer was detached or shrunk while an asynchronous call used it");
    }
    return start + array.ByteOffset() + copy.argument_offset;
  };
  const Napi::HandleScope scope(env);
  for (const Copy& copy : copies_) {
    if (copy.access != Access::read) destination(copy);  // all or none
  }
  for (const Copy& copy : copies_) {
    if (copy.access == Access::read) continue;
    if (!copy.device) {
      std::memcpy(destination(copy), copy.bytes, copy.size);
    } else if (Status status = copy.device->copy(destination(copy), copy.bytes, copy.size);
               !status.ok()) {
      throw Refused{std::move(status)};
    }
  }
}

}  // namespace palimpsest::addon
