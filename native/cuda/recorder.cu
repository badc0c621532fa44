// Recorders: a stream that is captured, the graph that comes of it, and the block of what changes.

#include <cstdio>
#include <cstring>

#include "cuda/recorder.h"

#include "cuda/common.cuh"

namespace palimpsest::cuda {
namespace {

// What no kernel writes: shows whether an answer has come.
constexpr uint64_t kNoAnswer = 0x7ff8dead0badf00dULL;

struct Recorder {
  DeviceState state;  // first: contexts see this
  DeviceState* device;
  Recording recording;
  cudaStream_t captured = nullptr;
  cudaGraphExec_t graph = nullptr;
  cudaEvent_t answer_event = nullptr;
  double* answers = nullptr;
  bool capturing = false;
  bool waiting = false;  // something was started and nobody waited for its answer yet
};

Recorder& of(void* recorder) { return *reinterpret_cast<Recorder*>(static_cast<DeviceState*>(recorder)); }

bool good(cudaError_t error, PluginText* reason) {
  if (error == cudaSuccess) return true;
  std::snprintf(reason->text, sizeof(reason->text), "%s", cudaGetErrorString(error));
  return false;
}

void close(void* recorder) {
  Recorder* r = &of(recorder);
  cudaSetDevice(r->device->index);
  cudaStreamSynchronize(r->device->stream);
  if (r->graph != nullptr) cudaGraphExecDestroy(r->graph);
  if (r->answer_event != nullptr) cudaEventDestroy(r->answer_event);
  if (r->captured != nullptr) cudaStreamDestroy(r->captured);
  if (r->state.flag != nullptr) cudaFree(r->state.flag);
  if (r->answers != nullptr) cudaFreeHost(r->answers);
  if (r->recording.host != nullptr) cudaFreeHost(r->recording.host);
  delete r;
}

void* open(void* device, PluginText* reason) {
  auto* r = new Recorder;
  r->device = static_cast<DeviceState*>(device);
  r->state = *r->device;
  r->state.failure.clear();
  r->state.flag = nullptr;
  r->state.recording = &r->recording;
  if (!good(cudaStreamCreateWithFlags(&r->captured, cudaStreamNonBlocking), reason) ||
      !good(cudaEventCreateWithFlags(&r->answer_event, cudaEventDisableTiming), reason) ||
      !good(cudaMalloc(reinterpret_cast<void**>(&r->state.flag), sizeof(int)), reason) ||
      !good(cudaHostAlloc(reinterpret_cast<void**>(&r->answers), RecorderApi::kAnswers * sizeof(double),
                          cudaHostAllocMapped),
            reason)) {
    close(&r->state);
    return nullptr;
  }
  return &r->state;
}

bool wait(void* recorder, int count, PluginText* reason) {
  Recorder& r = of(recorder);
  if (!r.waiting) return true;
  r.waiting = false;
  if (!good(cudaEventSynchronize(r.answer_event), reason)) return false;
  for (int i = 0; i < count; ++i) {
    uint64_t bits;
    std::memcpy(&bits, r.answers + i, sizeof(bits));
    if (bits != kNoAnswer) continue;
    // Should an event within a graph not hold the host back: the whole of it does.
    return good(cudaStreamSynchronize(r.device->stream), reason);
  }
  return true;
}

bool begin(void* recorder, RecorderPass pass, void* block, size_t bytes, PluginText* reason) {
  Recorder& r = of(recorder);
  // The host's side of the block is in use until the last step's answer has come.
  if (!wait(recorder, 0, reason)) return false;
  Recording& x = r.recording;
  if (pass != RecorderPass::start && bytes > x.host_bytes) {
    if (x.host != nullptr) cudaFreeHost(x.host);
    x.host = nullptr;
    x.host_bytes = 0;
    if (!good(cudaHostAlloc(reinterpret_cast<void**>(&x.host), bytes, cudaHostAllocDefault), reason)) return false;
    x.host_bytes = bytes;
  }
  x.pass = pass;
  x.at = 0;
  x.same = true;
  x.needed = 0;
  x.block = static_cast<std::byte*>(block);
  x.block_bytes = bytes;
  r.state.failure.clear();
  r.state.stream = pass == RecorderPass::start ? r.device->stream : r.captured;
  for (int i = 0; i < RecorderApi::kAnswers; ++i) std::memcpy(r.answers + i, &kNoAnswer, sizeof(kNoAnswer));
  if (pass != RecorderPass::record) return true;
  x.script.clear();
  // Relaxed: other threads of the process may allocate meanwhile.
  r.capturing = good(cudaStreamBeginCapture(r.captured, cudaStreamCaptureModeRelaxed), reason);
  return r.capturing;
}

bool answered(void* recorder, PluginText* reason) {
  Recorder& r = of(recorder);
  switch (r.recording.pass) {
    case RecorderPass::start:
      r.waiting = true;
      return good(cudaEventRecord(r.answer_event, r.state.stream), reason);
    case RecorderPass::record:
      // A node of the graph: each launch records the event anew.
      return good(cudaEventRecordWithFlags(r.answer_event, r.captured, cudaEventRecordExternal), reason);
    case RecorderPass::compare: return true;
  }
  return true;
}

// Ends the capture; its graph takes the last one's place.
bool adopt(Recorder& r, bool wanted, PluginText* reason) {
  r.capturing = false;
  cudaGraph_t captured = nullptr;
  if (!good(cudaStreamEndCapture(r.captured, &captured), reason)) {
    cudaGetLastError();
    return false;
  }
  bool done = wanted;
  if (wanted) {
    // Of the same kernels in the same order only arguments are exchanged.
    cudaGraphExecUpdateResultInfo how = {};
    if (r.graph == nullptr || cudaGraphExecUpdate(r.graph, captured, &how) != cudaSuccess) {
      cudaGetLastError();
      if (r.graph != nullptr) {
        // It may still run.
        cudaStreamSynchronize(r.device->stream);
        cudaGraphExecDestroy(r.graph);
        r.graph = nullptr;
      }
      done = good(cudaGraphInstantiate(&r.graph, captured, 0), reason);
    }
  }
  cudaGraphDestroy(captured);
  return done;
}

bool end(void* recorder, bool go, size_t* needed, PluginText* reason) {
  Recorder& r = of(recorder);
  Recording& x = r.recording;
  const RecorderPass pass = x.pass;
  x.pass = RecorderPass::start;
  *needed = x.needed;
  if (!r.state.failure.empty()) {
    std::snprintf(reason->text, sizeof(reason->text), "%s", r.state.failure.c_str());
    r.state.failure.clear();
    go = false;
  }
  if (pass == RecorderPass::record && r.capturing) {
    go = adopt(r, go && x.same, reason) && go && x.same;
  } else if (pass == RecorderPass::compare) {
    go = go && x.same && x.at == x.script.size() && r.graph != nullptr;
  }
  r.state.stream = r.device->stream;
  if (pass == RecorderPass::start || !go) return go;
  if (x.needed > 0 &&
      !good(cudaMemcpyAsync(x.block, x.host, x.needed, cudaMemcpyHostToDevice, r.device->stream), reason)) {
    return false;
  }
  r.waiting = true;
  return good(cudaGraphLaunch(r.graph, r.device->stream), reason);
}

double* answers(void* recorder) { return of(recorder).answers; }

}  // namespace

const RecorderApi& recorder_api() {
  static const RecorderApi api = {open, close, begin, answered, end, answers, wait};
  return api;
}

}  // namespace palimpsest::cuda
