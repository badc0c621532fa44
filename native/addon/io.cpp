// Files as memory.

#include "addon/bindings.h"
#include "palimpsest/file_map.h"

namespace palimpsest::addon {
namespace {

// mapFile(path): an ArrayBuffer over the file's pages, unmapped when it is collected.
napi_value map(napi_env env, napi_callback_info raw) {
  const Napi::CallbackInfo info(env, raw);
  FileMap file;
  const Status status = map_file(info[0].ToString().Utf8Value(), file);
  if (!status.ok()) {
    napi_throw(env, to_error(env, status));
    return nullptr;
  }
  return Napi::ArrayBuffer::New(env, file.data, file.size, [size = file.size](Napi::Env, void* data) {
    unmap_file({data, size});
  });
}

}  // namespace

void register_io(Exports& exports) { exports.set("mapFile", map); }

}  // namespace palimpsest::addon
