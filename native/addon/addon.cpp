// Registers the addon: the engine of this Node environment, its argument block, and all bindings.

#include <napi.h>

#include "addon/bindings.h"
#include "palimpsest/cpu_features.h"
#include "palimpsest/workspace.h"

namespace palimpsest::addon {

// One line for each file of this folder that holds bindings.
void register_attention(Exports& exports);
void register_conv(Exports& exports);
void register_device(Exports& exports);
void register_decompositions(Exports& exports);
void register_elementwise(Exports& exports);
void register_embedding(Exports& exports);
void register_indexing(Exports& exports);
void register_io(Exports& exports);
void register_linalg(Exports& exports);
void register_masks(Exports& exports);
void register_nn(Exports& exports);
void register_norm(Exports& exports);
void register_optim(Exports& exports);
void register_probe(Exports& exports);
void register_random(Exports& exports);
void register_reduce(Exports& exports);
void register_scan(Exports& exports);
void register_spiking(Exports& exports);

namespace {

Instance& instance_of(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

napi_value set_error_factory(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  instance_of(env).make_error = Napi::Persistent(info[0].As<Napi::Function>());
  return nullptr;
}

napi_value abort_job(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  const uint32_t number = info[0].ToNumber().Uint32Value();
  for (const auto& [job, abort] : instance_of(env).jobs) {
    if (job == number) *abort = true;
  }
  return nullptr;
}

// threads(n?): sets the number of threads where one is given; returns the number in force.
napi_value threads(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  Engine& engine = instance_of(env).engine;
  if (info.Length() > 0) engine.set_threads(info[0].ToNumber().Int32Value());
  return Napi::Number::New(env, engine.threads());
}

// settle(buffer): prepares the memory of a new ArrayBuffer for the kernels; the address modulo 64.
napi_value settle(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  auto buffer = info[0].As<Napi::ArrayBuffer>();
  want_huge_pages(buffer.Data(), buffer.ByteLength());
  return Napi::Number::New(env, static_cast<double>(reinterpret_cast<uintptr_t>(buffer.Data()) % 64));
}

napi_value cpu(napi_env env, napi_callback_info) {
  const Napi::Env e(env);
  Napi::Object description = Napi::Object::New(e);
  description.Set("name", cpu_name());
  description.Set("level", name_of(cpu_level()));
  description.Set("cores", physical_cores());
  const auto list = [e](const auto& strings, const auto& text) {
    Napi::Array array = Napi::Array::New(e);
    for (const auto& string : strings) array.Set(array.Length(), text(string));
    return array;
  };
  description.Set("features", list(cpu_features(), [](const std::string& name) { return name; }));
  description.Set("levels", list(available_cpu_levels(), [](CpuLevel l) { return name_of(l); }));
  return description;
}

Napi::Object initialise(Napi::Env env, Napi::Object object) {
  auto* instance = new Instance();  // freed by Node with the environment
  env.SetInstanceData(instance);
  Napi::Float64Array block = Napi::Float64Array::New(env, kBlockLength);
  instance->block = block.Data();
  instance->block_reference = Napi::Persistent(block);
  object.Set("block", block);

  Exports exports(env, object);
  exports.set("setErrorFactory", set_error_factory);
  exports.set("abort", abort_job);
  exports.set("threads", threads);
  exports.set("settle", settle);
  exports.set("cpu", cpu);
  register_attention(exports);
  register_conv(exports);
  register_device(exports);
  register_decompositions(exports);
  register_elementwise(exports);
  register_embedding(exports);
  register_indexing(exports);
  register_io(exports);
  register_linalg(exports);
  register_masks(exports);
  register_nn(exports);
  register_norm(exports);
  register_optim(exports);
  register_probe(exports);
  register_random(exports);
  register_reduce(exports);
  register_scan(exports);
  register_spiking(exports);
  return object;
}

}  // namespace
}  // namespace palimpsest::addon

Napi::Object palimpsest_initialise(Napi::Env env, Napi::Object exports) {
  return palimpsest::addon::initialise(env, exports);
}

NODE_API_MODULE(palimpsest, palimpsest_initialise)
