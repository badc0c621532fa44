// Not inline: files compiled for one instruction set include context.h, and an inline function's
// code must not come from there.

#include "palimpsest/context.h"

namespace palimpsest {

void Context::parallel(int64_t tasks, FunctionRef<void(int64_t)> task) const {
  if (tasks <= 1 || threads_ <= 1) {
    for (int64_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  ThreadPool::shared().run(tasks, threads_, task);
}

}  // namespace palimpsest
