#include <dlfcn.h>

#include <mutex>

#include "palimpsest/device.h"

namespace palimpsest {

Status open_plugin(const std::string& path, const PluginApi*& plugin) {
  static std::mutex mutex;
  static std::map<std::string, const PluginApi*> opened;
  const std::lock_guard guard(mutex);
  if (const auto found = opened.find(path); found != opened.end()) {
    plugin = found->second;
    return {};
  }
  // Never closed: a driver's threads may run in it until the process ends.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return {Code::device, why == nullptr ? path + " cannot be opened" : why};
  }
  const auto entry = reinterpret_cast<PluginEntry>(dlsym(library, kPluginEntry));
  if (entry == nullptr) return {Code::device, path + " is no Palimpsest plugin"};
  const PluginApi* api = entry();
  if (api->abi != kPluginAbi || api->table_bytes != sizeof(KernelTable) ||
      api->context_bytes != sizeof(Context)) {
    return {Code::device, path + " was built from another version of this package"};
  }
  opened[path] = api;
  plugin = api;
  return {};
}

}  // namespace palimpsest
