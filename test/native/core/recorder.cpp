// Recorders over a made-up device: what is recorded when, and what is done where it cannot be.

#include "palimpsest/recorder.h"

#include <cstdlib>
#include <vector>

#include "check.h"

using namespace palimpsest;

namespace {

// A pass is a list of numbers: kernels that were started. A recording is replayed if they are the same.
struct FakeRecorder {
  RecorderPass pass;
  std::vector<int> seen, recorded;
  double answers[RecorderApi::kAnswers];
  double next = 0;  // what the kernels answer
  size_t needed = 100;
  bool refuses = false;
  int started = 0, replayed = 0, open = 0;
  bool had_block = false;
} fake;
size_t room = size_t{1} << 30;

const PluginApi& fake_api() {
  static const RecorderApi recorder = [] {
    RecorderApi made{};
    made.open = [](void*, PluginText*) -> void* {
      ++fake.open;
      return &fake;
    };
    made.close = [](void*) { --fake.open; };
    made.begin = [](void*, RecorderPass pass, void* block, size_t bytes, PluginText*) {
      fake.pass = pass;
      fake.seen.clear();
      fake.had_block = block != nullptr && bytes >= fake.needed;
      return true;
    };
    made.answered = [](void*, PluginText*) { return true; };
    made.end = [](void*, bool go, size_t* needed, PluginText*) {
      *needed = fake.needed;
      if (!go) return false;
      if (fake.pass == RecorderPass::record) {
        fake.recorded = fake.seen;
        go = !fake.refuses && fake.had_block;
      }
      if (fake.pass == RecorderPass::compare) go = fake.had_block && fake.seen == fake.recorded;
      if (!go) return false;
      ++(fake.pass == RecorderPass::start ? fake.started : fake.replayed);
      fake.answers[0] = fake.next;
      return true;
    };
    made.answers = [](void*) { return fake.answers; };
    made.wait = [](void*, int, PluginText*) { return true; };
    return made;
  }();
  static const KernelTable none{};
  static const PluginApi api = [] {
    PluginApi made{};
    made.kind = "fake";
    made.open = [](int, PluginText*) -> void* { return &fake; };
    made.close = [](void*) {};
    made.enter = [](void*) {};
    made.kernels = [](void*) { return &none; };
    made.allocate = [](void*, size_t bytes) { return bytes > room ? nullptr : std::malloc(bytes); };
    made.release = [](void*, void* pointer) { std::free(pointer); };
    made.download = [](void*, void*, const void*, size_t, PluginText*) { return true; };
    made.recorder = &recorder;
    return made;
  }();
  return api;
}

// Runs a recorder on a device of its own.
struct Bench {
  std::shared_ptr<Device> device;
  std::unique_ptr<Recorder> recorder;
  Bench() {
    fake = {};
    room = size_t{1} << 30;
    CHECK(Device::open(fake_api(), 0, device).ok());
    CHECK(Recorder::open(device, recorder).ok() && recorder != nullptr);
  }
  // A step that starts the kernels and answers `answer`.
  Status step(const std::vector<int>& kernels, double answer, bool waits = false) {
    fake.next = answer;
    Device::Lease lease(*device, nullptr);
    double result = -1;
    const auto work = [&](Context& context, double*) -> Status {
      double number = 0;
      if (waits) PALIMPSEST_TRY(context.read(number, &number));
      (void)context.workspace.take<float>(10);
      fake.seen.insert(fake.seen.end(), kernels.begin(), kernels.end());
      return recorder->answered();
    };
    const Status status = recorder->run(lease.context, work, &result, 1);
    if (status.ok()) CHECK(result == answer);
    return status;
  }
  bool counts(uint64_t plain, uint64_t recorded, uint64_t replayed) const {
    const Recorder::Statistics now = recorder->statistics();
    return now.plain == plain && now.recorded == recorded && now.replayed == replayed;
  }
};

}  // namespace

TEST("recorder: plain at first, then recorded, then replayed as long as nothing changes") {
  {
    Bench bench;
    CHECK(bench.step({1, 2}, 5).ok() && bench.counts(1, 0, 0) && fake.started == 1);
    CHECK(bench.step({1, 2}, 6).ok() && bench.counts(1, 1, 0) && fake.replayed == 1);
    CHECK(bench.step({1, 2}, 7).ok() && bench.counts(1, 1, 1));
    // Other kernels: this step plainly, the next is recorded.
    CHECK(bench.step({1, 2, 3}, 8).ok() && bench.counts(2, 1, 1) && fake.started == 2);
    CHECK(bench.step({1, 2, 3}, 9).ok() && bench.counts(2, 2, 1));
    CHECK(bench.step({1, 2, 3}, 10).ok() && bench.counts(2, 2, 2));
    // More of what changes than there was room for.
    fake.needed = 5000;
    CHECK(bench.step({1, 2, 3}, 11).ok() && bench.counts(3, 2, 2));
    CHECK(bench.step({1, 2, 3}, 12).ok() && bench.counts(3, 3, 2));
    CHECK(bench.step({1, 2, 3}, 13).ok() && bench.counts(3, 3, 3));
    CHECK(bench.recorder->statistics().reason.empty());
  }
  CHECK(fake.open == 0);
}

TEST("recorder: what is never the same, waits, or is refused stays plain and says why") {
  {
    Bench bench;
    int kernel = 0;
    for (int i = 0; i < 60; ++i) CHECK(bench.step({++kernel}, i).ok());
    const Recorder::Statistics now = bench.recorder->statistics();
    CHECK(now.plain + now.recorded == 60 && now.recorded < 15 && now.replayed == 0 && !now.reason.empty());
  }
  {
    Bench bench;
    for (int i = 0; i < 4; ++i) CHECK(bench.step({1}, i, true).ok());
    CHECK(bench.counts(4, 0, 0) && fake.started == 4);
    CHECK(bench.recorder->statistics().reason.find("wait") != std::string::npos);
  }
  {
    Bench bench;
    fake.refuses = true;
    for (int i = 0; i < 4; ++i) CHECK(bench.step({1}, i).ok());
    CHECK(bench.counts(4, 0, 0) && !bench.recorder->statistics().reason.empty());
  }
  {
    // No memory for the block: kernel by kernel as before.
    Bench bench;
    CHECK(bench.step({1}, 1).ok());
    room = 0;
    CHECK(bench.step({1}, 2).ok() && bench.step({1}, 3).ok() && bench.counts(3, 0, 0));
    CHECK(bench.recorder->statistics().reason.find("memory") != std::string::npos);
  }
}

TEST("recorder: work that fails runs nothing, and the next goes on") {
  Bench bench;
  CHECK(bench.step({1}, 1).ok() && bench.step({1}, 2).ok());
  std::atomic<bool> abort{true};
  Device::Lease lease(*bench.device, &abort);
  double result = -1;
  const auto aborted = [](Context& context, double*) -> Status {
    return context.aborted() ? Status(Code::aborted, "aborted") : Status();
  };
  CHECK(bench.recorder->run(lease.context, aborted, &result, 1).code() == Code::aborted && result == -1);
  CHECK(bench.counts(1, 1, 0) && fake.started == 1 && fake.replayed == 1);
  CHECK(bench.step({1}, 3).ok() && bench.counts(1, 1, 1));
}
