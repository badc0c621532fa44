// Apart from context.cpp, because plugins are linked with this and have no threads.

#include <cstring>

#include "palimpsest/context.h"

namespace palimpsest {

Status Context::read_bytes(void* to, const void* from, size_t bytes) const {
  if (access != nullptr) return access->download(to, from, bytes);
  std::memcpy(to, from, bytes);
  return {};
}

Status Context::write_bytes(void* to, const void* from, size_t bytes) const {
  if (access != nullptr) return access->upload(to, from, bytes);
  std::memcpy(to, from, bytes);
  return {};
}

}  // namespace palimpsest
