// A scenario with operations on files.
#include <completionport/files.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "tests/fault/scenarios.h"
#include "tests/support/sockets.h"

namespace cport::test {
namespace {

// Each accepted operation must have exactly one record, and where it is OK all of its bytes.
class FileLedger {
 public:
    FileLedger(Stage& stage, int file) : stage_(stage), file_(file) {}
    FileLedger(const FileLedger&) = delete;
    FileLedger& operator=(const FileLedger&) = delete;

    void read(char* buffer, uint32_t length) {
        COMPLETION_PORT_FILE_READ_OPERATION form{};
        form.buffer = buffer;
        form.length = length;
        submit(form, COMPLETION_PORT_KIND_FILE_READ, length);
    }
    void write(const std::string& bytes, uint64_t offset) {
        COMPLETION_PORT_FILE_WRITE_OPERATION form{};
        form.buffer = bytes.data();
        form.length = static_cast<uint32_t>(bytes.size());
        form.offset = offset;
        submit(form, COMPLETION_PORT_KIND_FILE_WRITE, form.length);
    }
    void sync() {
        submit(COMPLETION_PORT_FILE_SYNC_OPERATION{}, COMPLETION_PORT_KIND_FILE_SYNC, 0);
    }
    void wait_for_all() {
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [this] { return waiting_ == 0; });
    }

 private:
    struct Entry {
        FileLedger* ledger;
        int64_t bytes;
        bool over = false;
    };

    template <typename Form>
    void submit(Form form, uint32_t kind, int64_t bytes) {
        Entry* entry = nullptr;
        {
            const std::lock_guard lock(mutex_);
            entry = &entries_.emplace_back(Entry{this, bytes});
            ++waiting_;
        }
        form.common.size = sizeof(form);
        form.common.kind = kind;
        form.common.descriptor = file_;
        form.common.on_complete = on_complete;
        form.common.context = entry;
        if (completion_port_submit(stage_.port(), &form.common, nullptr, nullptr) == 0) return;
        stage_.expect_if_undisturbed(false, "an operation on a file was refused without need");
        entry->over = true;
        const std::lock_guard lock(mutex_);
        --waiting_;
    }

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
        auto& entry = *static_cast<Entry*>(context);
        FileLedger& ledger = *entry.ledger;
        const bool ok = record->result == COMPLETION_PORT_RESULT_OK;
        ledger.stage_.expect(!entry.over, "a second record, or one of what was refused");
        ledger.stage_.expect(record->value >= 0 && record->value <= entry.bytes,
                             "the value is out of range");
        ledger.stage_.expect(!ok || record->value == entry.bytes, "OK without all bytes");
        ledger.stage_.expect_if_undisturbed(record->result != COMPLETION_PORT_RESULT_ERROR,
                                            "an operation on a file failed without need");
        entry.over = true;
        const std::lock_guard lock(ledger.mutex_);
        --ledger.waiting_;
        ledger.ended_.notify_all();
    }

    Stage& stage_;
    const int file_;
    std::mutex mutex_;
    std::condition_variable ended_;
    std::deque<Entry> entries_;
    size_t waiting_ = 0;
};

}  // namespace

void files(Stage& stage) {
    // Too long to be read at once.
    const std::string many(100'000, 'x');
    std::string received(many.size(), '\0');
    std::array<char, 100> little{};
    const Descriptor file(::memfd_create("files", MFD_CLOEXEC));
    static_cast<void>(::ftruncate(file.get(), static_cast<off_t>(many.size())));
    FileLedger ledger(stage, file.get());
    ledger.write(many, 0);
    ledger.sync();
    ledger.wait_for_all();
    ledger.read(received.data(), static_cast<uint32_t>(received.size()));
    ledger.read(little.data(), little.size());
    ledger.wait_for_all();
    stage.expect_if_undisturbed(received == many && little[99] == 'x', "other bytes came back");
    ledger.read(received.data(), static_cast<uint32_t>(received.size()));
    ledger.write(many, 1);
    stage.remove(file.get());
    // What was accepted before has ended, so this waits for nobody.
    ledger.wait_for_all();
    ledger.write(many, 2);
    stage.release();
    ledger.wait_for_all();
}

}  // namespace cport::test
