#include "palimpsest/file_map.h"

#if defined(__unix__) || defined(__APPLE__)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace palimpsest {

Status map_file(const std::string& path, FileMap& map) {
  const auto failed = [&path] {
    return Status(Code::argument, path + ": " + std::strerror(errno));
  };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed();
  struct stat info {};
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    if (!S_ISREG(info.st_mode)) errno = EINVAL;
    Status status = failed();
    close(file);
    return status;
  }
  map = {nullptr, static_cast<size_t>(info.st_size)};
  if (map.size > 0) {
    map.data = mmap(nullptr, map.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
    if (map.data == MAP_FAILED) {
      map = {};
      Status status = failed();
      close(file);
      return status;
    }
  }
  close(file);
  return {};
}

void unmap_file(const FileMap& map) {
  if (map.data != nullptr) munmap(map.data, map.size);
}

}  // namespace palimpsest

#else

namespace palimpsest {

Status map_file(const std::string& path, FileMap&) {
  return {Code::argument, path + ": files cannot be mapped on this system"};
}

void unmap_file(const FileMap&) {}

}  // namespace palimpsest

#endif
