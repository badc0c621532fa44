// How a binding becomes a JavaScript function, synchronous or asynchronous.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "addon/call.h"

namespace palimpsest::addon {

// Runs `body`, turning what it throws into a status.
template <typename Body>
Status guarded(const Body& body) {
  try {
    return body();
  } catch (const Refused& refused) {
    return refused.status;
  } catch (const NotOnDevice& refused) {
    return refused.status;
  } catch (const std::bad_alloc&) {
    return {Code::device, "out of memory"};
  } catch (const std::exception& error) {
    return {Code::internal, error.what()};
  }
}

template <auto kBinding>
napi_value call_sync(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  auto& instance = *static_cast<Instance*>(data);
  Call call(env, info, instance, Call::Mode::sync);
  const Status status = guarded([&] {
    auto work = kBinding(call);
    return instance.run(call.device(), nullptr, work);
  });
  if (status.ok()) return call.results(env);
  napi_throw(env, to_error(env, status));
  return nullptr;
}

template <typename Work>
class Job final : public Napi::AsyncWorker {
 public:
  Job(Napi::Env env, Instance& instance, std::unique_ptr<Call> call, Work work)
      : Napi::AsyncWorker(env),
        instance_(instance),
        call_(std::move(call)),
        work_(std::move(work)),
        deferred_(Napi::Promise::Deferred::New(env)),
        number_(instance.next_job++) {
    instance.jobs.emplace_back(number_, &abort_);
  }
  ~Job() override {
    std::erase_if(instance_.jobs, [this](const auto& job) { return job.first == number_; });
  }

  // { promise, job }: the number is what `abort` takes.
  Napi::Value handle() {
    Napi::Object object = Napi::Object::New(Env());
    object.Set("promise", deferred_.Promise());
    object.Set("job", number_);
    return object;
  }

 protected:
  void Execute() override {
    status_ = guarded([&]() -> Status {
      PALIMPSEST_TRY(instance_.run(call_->device(), &abort_, work_));
      return call_->device() == nullptr ? Status() : call_->device()->synchronize();
    });
  }
  void OnOK() override {
    if (status_.ok() && abort_) status_ = Status(Code::aborted, "aborted");
    if (status_.ok()) {
      status_ = guarded([&]() -> Status {
        call_->publish_outputs(Env());
        return {};
      });
    }
    if (status_.ok()) {
      deferred_.Resolve(call_->results(Env()));
    } else {
      deferred_.Reject(to_error(Env(), status_));
    }
  }

 private:
  Instance& instance_;
  std::unique_ptr<Call> call_;
  Work work_;
  Napi::Promise::Deferred deferred_;
  uint32_t number_;
  std::atomic<bool> abort_{false};
  Status status_;
};

template <auto kBinding>
napi_value call_async(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  auto& instance = *static_cast<Instance*>(data);
  auto call = std::make_unique<Call>(env, info, instance, Call::Mode::async);
  napi_value handle = nullptr;
  const Status status = guarded([&]() -> Status {
    auto work = kBinding(*call);
    auto* job = new Job<decltype(work)>(env, instance, std::move(call), std::move(work));
    handle = job->handle();
    job->Queue();  // deletes itself when done
    return {};
  });
  if (status.ok()) return handle;
  napi_throw(env, to_error(env, status));
  return nullptr;
}

// Gives the bindings their names.
class Exports {
 public:
  Exports(Napi::Env env, Napi::Object object) : env_(env), object_(object) {}

  template <auto kBinding>
  void add(const char* name) {
    set(name, call_sync<kBinding>);
  }
  // `name` and `nameAsync`.
  template <auto kBinding>
  void add_with_async(const char* name) {
    add<kBinding>(name);
    set((std::string(name) + "Async").c_str(), call_async<kBinding>);
  }
  // A function that is no binding of the engine's.
  void set(const char* name, napi_callback callback) {
    napi_value function = nullptr;
    napi_create_function(env_, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    object_.Set(name, function);
  }

 private:
  Napi::Env env_;
  Napi::Object object_;
};

}  // namespace palimpsest::addon
