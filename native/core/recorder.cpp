#include "palimpsest/recorder.h"

#include <cstring>
#include <new>
#include <utility>

namespace palimpsest {
namespace {

// Work that is never the same is not recorded for ever.
constexpr int kMostChanges = 8;

Status outcome(bool good, const PluginText& reason) {
  return good ? Status() : Status(Code::device, reason.text);
}

}  // namespace

Status Recorder::open(const std::shared_ptr<Device>& device, std::unique_ptr<Recorder>& recorder) {
  recorder.reset();
  const RecorderApi* api = device->api().recorder;
  if (api == nullptr) return {};
  PluginText reason;
  device->api().enter(device->handle());
  void* handle = api->open(device->handle(), &reason);
  if (handle == nullptr) return {Code::device, reason.text};
  recorder.reset(new Recorder(device, handle));
  return {};
}

Recorder::Recorder(std::shared_ptr<Device> device, void* handle)
    : device_(std::move(device)),
      api_(*device_->api().recorder),
      handle_(handle),
      workspace_(device_->scratch_source()) {}

Recorder::~Recorder() {
  device_->api().enter(device_->handle());
  api_.close(handle_);
  device_->memory().release(block_);
}

Recorder::Statistics Recorder::statistics() const {
  const std::lock_guard guard(statistics_mutex_);
  return statistics_;
}

void Recorder::tally(uint64_t Statistics::*what, const std::string& reason) {
  const std::lock_guard guard(statistics_mutex_);
  if (what != nullptr) ++(statistics_.*what);
  if (!reason.empty()) statistics_.reason = reason;
}

Status Recorder::download(void* to, const void* from, size_t bytes) {
  if (pass_ == RecorderPass::start) return device_->download(to, from, bytes);
  waited_ = true;
  return {Code::device, "recorded work cannot wait for the device"};
}

Status Recorder::upload(void* to, const void* from, size_t bytes) {
  if (pass_ == RecorderPass::start) return device_->upload(to, from, bytes);
  waited_ = true;
  return {Code::device, "recorded work cannot take numbers of the host"};
}

Status Recorder::answered() {
  PluginText reason;
  return outcome(api_.answered(handle_, &reason), reason);
}

Status Recorder::pass(const Context& caller, RecorderPass how, const Work& work, bool& same) {
  const Workspace::Scope scope(workspace_);
  const bool starts = how == RecorderPass::start;
  if (!starts && needed_ > block_bytes_) {
    device_->memory().release(std::exchange(block_, nullptr));
    block_bytes_ = 0;
    block_ = device_->memory().allocate(needed_);
    if (block_ == nullptr) throw std::bad_alloc();
    block_bytes_ = needed_;
  }
  PluginText reason;
  pass_ = how;
  waited_ = false;
  same = true;
  if (!api_.begin(handle_, how, starts ? nullptr : block_, starts ? 0 : block_bytes_, &reason)) {
    same = false;
    return outcome(false, reason);
  }
  // Out of memory half way: a pass always ends.
  struct End {
    Recorder& recorder;
    bool done = false;
    ~End() {
      PluginText ignored;
      size_t bytes = 0;
      if (!done) recorder.api_.end(recorder.handle_, false, &bytes, &ignored);
    }
  } end{*this};
  Context context(caller.kernels, workspace_, 1);
  context.abort = caller.abort;
  context.device = handle_;
  context.access = this;
  const Status status = work(context, api_.answers(handle_));
  end.done = true;
  same = api_.end(handle_, status.ok(), &needed_, &reason);
  if (!status.ok()) return status;
  return starts ? outcome(same, reason) : Status();
}

Status Recorder::run(const Context& caller, const Work& work, double* results, int count) {
  const std::lock_guard guard(mutex_);
  device_->api().enter(device_->handle());
  bool done = false;
  if (state_ == State::warm || state_ == State::recorded) {
    const bool replay = state_ == State::recorded;
    Status status;
    try {
      status = pass(caller, replay ? RecorderPass::compare : RecorderPass::record, work, done);
    } catch (const std::bad_alloc&) {
      // Kernel by kernel there may be enough.
      status = {Code::device, "there is no memory for what is recorded"};
    }
    if (status.code() == Code::aborted) return status;
    done = done && status.ok();
    if (done) {
      if (replay) {
        tally(&Statistics::replayed);
        changes_ = 0;
      } else {
        tally(&Statistics::recorded);
        state_ = State::recorded;
      }
    } else {
      // Nothing has run yet.
      state_ = State::cold;
      if (waited_ || !replay || ++changes_ > kMostChanges) {
        state_ = State::off;
        tally(nullptr, !status.ok() ? status.message()
                       : replay     ? "the kernels are others each time"
                                    : "the kernels could not be recorded");
      }
    }
  }
  if (!done) {
    bool same = true;
    PALIMPSEST_TRY(pass(caller, RecorderPass::start, work, same));
    tally(&Statistics::plain);
    if (state_ == State::cold) state_ = State::warm;
  }
  PluginText reason;
  PALIMPSEST_TRY(outcome(api_.wait(handle_, count, &reason), reason));
  std::memcpy(results, api_.answers(handle_), static_cast<size_t>(count) * sizeof(double));
  return {};
}

}  // namespace palimpsest
