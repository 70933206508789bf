// Reading, writing and syncing files at offsets.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <random>
#include <vector>

#include "tests/contract/kinds_fixture.h"

namespace cport::test {
namespace {

// An empty file on a disk, without a name.
Descriptor file_on_disk() {
    std::string path = (std::filesystem::temp_directory_path() / "file_test_XXXXXX").string();
    Descriptor file(::mkostemp(path.data(), O_CLOEXEC));
    EXPECT_GE(file.get(), 0);
    EXPECT_EQ(::unlink(path.c_str()), 0);
    return file;
}

Descriptor file_of(const std::string& bytes) {
    Descriptor file = file_on_disk();
    EXPECT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return file;
}

std::string content(int file, size_t length, off_t offset = 0) {
    std::string bytes(length, '\0');
    const ssize_t count = ::pread(file, bytes.data(), length, offset);
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
    return bytes;
}

class FileTest : public KindsTest {
 protected:
    using Read = COMPLETION_PORT_FILE_READ_OPERATION;
    using Write = COMPLETION_PORT_FILE_WRITE_OPERATION;
    using Sync = COMPLETION_PORT_FILE_SYNC_OPERATION;

    Submission& read_of(int file, size_t length, uint64_t offset) {
        Submission& submitted = submission(std::string(length, '\0'));
        auto& read = submitted.as<Read>(COMPLETION_PORT_KIND_FILE_READ, file);
        read.buffer = submitted.buffer().data();
        read.length = static_cast<uint32_t>(length);
        read.offset = offset;
        return submitted;
    }
    Submission& write_of(int file, std::string bytes, uint64_t offset) {
        Submission& submitted = submission(std::move(bytes));
        auto& write = submitted.as<Write>(COMPLETION_PORT_KIND_FILE_WRITE, file);
        write.buffer = submitted.buffer().data();
        write.length = static_cast<uint32_t>(submitted.buffer().size());
        write.offset = offset;
        return submitted;
    }
    Submission& sync_of(int descriptor, uint32_t flags = 0) {
        Submission& submitted = submission();
        submitted.as<Sync>(COMPLETION_PORT_KIND_FILE_SYNC, descriptor).sync_flags = flags;
        return submitted;
    }
    Submission& accepted(Submission& submitted) {
        EXPECT_EQ(submitted.submit(port()), 0);
        return submitted;
    }
    Submission& submit_read(int file, size_t length, uint64_t offset) {
        return accepted(read_of(file, length, offset));
    }
    Submission& submit_write(int file, std::string bytes, uint64_t offset) {
        return accepted(write_of(file, std::move(bytes), offset));
    }
};
CPORT_ON_EVERY_ENGINE(FileTest);

// Spec: CP-FILE-1
TEST_P(FileTest, ReadsUpToTheEnd) {
    const std::string bytes = pattern(200'000);
    const Descriptor file = file_of(bytes);
    ASSERT_EQ(::lseek(file.get(), 7, SEEK_SET), 7);
    Submission& middle = submit_read(file.get(), 500, 1000);
    const COMPLETION_PORT_COMPLETION record = middle.wait_for(1).record;
    EXPECT_EQ(ending_of(record), finished(500));
    EXPECT_EQ(record.kind, static_cast<uint32_t>(COMPLETION_PORT_KIND_FILE_READ));
    EXPECT_EQ(record.buffer, middle.buffer().data());
    EXPECT_EQ(record.key, middle.key());
    EXPECT_EQ(record.operation, middle.id());
    EXPECT_EQ(middle.bytes(), bytes.substr(1000, 500));
    Submission& whole = submit_read(file.get(), bytes.size(), 0);
    EXPECT_EQ(whole.wait(), finished(200'000));
    EXPECT_TRUE(whole.bytes() == bytes);
    Submission& tail = submit_read(file.get(), 500, bytes.size() - 20);
    EXPECT_EQ(tail.wait(), finished(20));
    EXPECT_EQ(tail.bytes(), bytes.substr(bytes.size() - 20));
    EXPECT_EQ(submit_read(file.get(), 500, bytes.size()).wait(), finished(0));
    EXPECT_EQ(submit_read(file.get(), 500, uint64_t{1} << 40).wait(), finished(0));
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 7);
}

// Spec: CP-FILE-2
TEST_P(FileTest, WritesWholeAtAnyOffset) {
    const Descriptor file = file_on_disk();
    const std::string bytes = pattern(3 << 20);
    EXPECT_EQ(submit_write(file.get(), bytes, 0).wait(), finished(3 << 20));
    EXPECT_TRUE(content(file.get(), bytes.size()) == bytes);
    constexpr uint64_t kFar = (uint64_t{5} << 30) + 123;
    EXPECT_EQ(submit_write(file.get(), "far away", kFar).wait(), finished(8));
    EXPECT_EQ(content(file.get(), 100, static_cast<off_t>(kFar)), "far away");
    Submission& read = submit_read(file.get(), 12, kFar - 4);
    EXPECT_EQ(read.wait(), finished(12));
    EXPECT_EQ(read.bytes(), std::string(4, '\0') + "far away");
    EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 0);
}

// Spec: CP-FILE-3
TEST_P(FileTest, SeveralPiecesOfMemory) {
    constexpr size_t kPieces = COMPLETION_PORT_VECTORS_MAX;
    const Descriptor file = file_on_disk();
    std::string from = pattern(kPieces * 3);
    std::string to(kPieces * 3, '\0');
    std::vector<iovec> pieces;
    for (size_t i = 0; i < kPieces; ++i) pieces.push_back({&from[i * 3], 3});
    Submission& written = submission();
    auto& write = written.as<Write>(COMPLETION_PORT_KIND_FILE_WRITE, file.get());
    write.vectors = pieces.data();
    write.count = kPieces;
    write.offset = 10;
    accepted(written);
    const COMPLETION_PORT_COMPLETION record = written.wait_for(1).record;
    EXPECT_EQ(ending_of(record), finished(kPieces * 3));
    EXPECT_EQ(record.buffer, pieces.data());
    for (size_t i = 0; i < kPieces; ++i) pieces[i].iov_base = &to[i * 3];
    Submission& fetched = submission();
    auto& read = fetched.as<Read>(COMPLETION_PORT_KIND_FILE_READ, file.get());
    read.vectors = pieces.data();
    read.count = kPieces;
    read.offset = 12;
    EXPECT_EQ(accepted(fetched).wait(), finished(kPieces * 3 - 2));
    EXPECT_EQ(to.substr(0, kPieces * 3 - 2), from.substr(2));
}

// Spec: CP-FILE-4
TEST_P(FileTest, SyncsFilesAndDirectories) {
    const Descriptor file = file_of("bytes");
    const Descriptor directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_EQ(submit_write(file.get(), "more", 5).wait(), finished(4));
    for (const int descriptor : {file.get(), directory.get()}) {
        for (const uint32_t flags : {0u, uint32_t{COMPLETION_PORT_FILE_SYNC_DATA}}) {
            const auto record = accepted(sync_of(descriptor, flags)).wait_for(1).record;
            EXPECT_EQ(ending_of(record), finished(0));
            EXPECT_EQ(record.buffer, nullptr);
        }
    }
}

// Spec: CP-FILE-5
TEST_P(FileTest, AFailureIsToldInTheRecord) {
    const Descriptor file = file_of("bytes");
    const std::string self = "/proc/self/fd/" + std::to_string(file.get());
    const Descriptor read_only(::open(self.c_str(), O_RDONLY | O_CLOEXEC));
    const Descriptor write_only(::open(self.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_GE(read_only.get(), 0);
    EXPECT_EQ(submit_write(read_only.get(), "x", 0).wait(), failed(-EBADF));
    EXPECT_EQ(submit_read(write_only.get(), 1, 0).wait(), failed(-EBADF));
    EXPECT_EQ(submit_read(read_only.get(), 5, 0).wait(), finished(5));
    // The number of the file is sound: what it says is not what a closed one says.
    EXPECT_EQ(submit_write(write_only.get(), "x", 0).wait(), finished(1));
}

// Spec: CP-FILE-5
TEST_P(FileTest, UnbufferedFilesFailAndEndAsTheKernelSays) {
    constexpr size_t kBlock = 4096;
    const Descriptor file = file_of(pattern(kBlock + 100));
    const std::string self = "/proc/self/fd/" + std::to_string(file.get());
    const Descriptor direct(::open(self.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (direct.get() < 0) GTEST_SKIP() << "no unbuffered files here";
    void* memory = nullptr;
    ASSERT_EQ(::posix_memalign(&memory, kBlock, 2 * kBlock), 0);
    auto* block = static_cast<char*>(memory);
    const ssize_t misaligned = ::pread(direct.get(), block + 1, kBlock, 0);
    const Ending expected = misaligned < 0 ? failed(-errno) : finished(misaligned);
    Submission& aside = read_of(direct.get(), 1, 0);
    reinterpret_cast<Read&>(aside.common()).buffer = block + 1;
    reinterpret_cast<Read&>(aside.common()).length = kBlock;
    EXPECT_EQ(accepted(aside).wait(), expected);
    // The end of the file lies inside a block.
    Submission& aligned = read_of(direct.get(), 1, 0);
    reinterpret_cast<Read&>(aligned.common()).buffer = block;
    reinterpret_cast<Read&>(aligned.common()).length = 2 * kBlock;
    EXPECT_EQ(accepted(aligned).wait(), finished(kBlock + 100));
    ::free(memory);
}

// Spec: CP-FILE-6
TEST_P(FileTest, AThousandAtOnceAgreeWithAModel) {
    constexpr size_t kBlock = 512;
    constexpr size_t kBlocks = 1000;
    const auto seed = std::random_device()();
    RecordProperty("seed", std::to_string(seed));
    std::mt19937 random(seed);
    std::string model = pattern(kBlock * kBlocks, seed);
    const Descriptor file = file_of(model);
    for (int round = 0; round < scaled(5, 2); ++round) {
        // Each block is read or written by one of them, so the model knows what each will find.
        std::vector<size_t> blocks(kBlocks);
        for (size_t i = 0; i < kBlocks; ++i) blocks[i] = i;
        std::shuffle(blocks.begin(), blocks.end(), random);
        std::vector<std::pair<Submission*, size_t>> reads;
        std::vector<Submission*> writes;
        for (const size_t block : blocks) {
            const size_t offset = block * kBlock;
            if (random() % 2 == 0) {
                reads.emplace_back(&submit_read(file.get(), kBlock, offset), offset);
                continue;
            }
            const std::string bytes = pattern(kBlock, static_cast<uint32_t>(random()));
            writes.push_back(&submit_write(file.get(), bytes, offset));
            model.replace(offset, kBlock, bytes);
        }
        for (const auto& [read, offset] : reads) {
            EXPECT_EQ(read->wait(), finished(kBlock)) << "seed " << seed;
            EXPECT_TRUE(read->bytes() == model.substr(offset, kBlock)) << "seed " << seed;
        }
        for (Submission* write : writes) EXPECT_EQ(write->wait(), finished(kBlock));
        EXPECT_EQ(accepted(sync_of(file.get())).wait(), finished(0));
        EXPECT_TRUE(content(file.get(), model.size()) == model) << "seed " << seed;
    }
}

// Spec: CP-FILE-7
TEST_P(FileTest, ABatchMixesFilesAndSockets) {
    const Descriptor file = file_of("of the file");
    Pair& pair = keep(unix_pair());
    Submission& sent = submission("of the socket").as_send(pair.ours.get());
    const std::vector<Submission*> all{&read_of(file.get(), 11, 0), &sent,
                                       &write_of(file.get(), "more", 11), &sync_of(file.get())};
    std::vector<const COMPLETION_PORT_OPERATION*> forms;
    for (Submission* each : all) {
        each->for_waiters();
        forms.push_back(&each->common());
    }
    std::array<uint64_t, 4> ids{};
    ASSERT_EQ(completion_port_submit_batch(port(), forms.data(), 4, ids.data()), 4);
    std::vector<uint64_t> ended;
    for (size_t i = 0; i < all.size(); ++i) {
        const COMPLETION_PORT_COMPLETION record = wait_for_record();
        EXPECT_EQ(record.result, COMPLETION_PORT_RESULT_OK);
        ended.push_back(record.operation);
    }
    std::sort(ended.begin(), ended.end());
    std::sort(ids.begin(), ids.end());
    EXPECT_TRUE(std::equal(ended.begin(), ended.end(), ids.begin(), ids.end()));
    EXPECT_EQ(content(file.get(), 100), "of the filemore");
    EXPECT_EQ(read_exactly(pair.theirs.get(), 13), "of the socket");
}

// Spec: CP-FILE-8
TEST_P(FileTest, RefusesBadForms) {
    const Descriptor file = file_of("bytes");
    std::string bytes = "12345";
    std::vector<iovec> pieces(COMPLETION_PORT_VECTORS_MAX + 1, iovec{bytes.data(), 1});
    auto good = form<Read>(COMPLETION_PORT_KIND_FILE_READ, file.get());
    expect_common_refusals([&] {
        Read read = good;
        read.buffer = bytes.data();
        read.length = 5;
        return read;
    }());
    const auto refused = [&](auto change) {
        Read read = good;
        change(read);
        auto write = form<Write>(COMPLETION_PORT_KIND_FILE_WRITE, file.get());
        write.buffer = read.buffer;
        write.vectors = read.vectors;
        write.length = read.length;
        write.count = read.count;
        write.offset = read.offset;
        return submit(read) == -EINVAL && submit(write) == -EINVAL;
    };
    good.buffer = bytes.data();
    good.length = 5;
    EXPECT_TRUE(refused([](Read& its) { its.buffer = nullptr; }));
    EXPECT_TRUE(refused([](Read& its) { its.length = 0; }));
    EXPECT_TRUE(refused([](Read& its) { its.length = uint32_t{INT32_MAX} + 1; }));
    EXPECT_TRUE(refused([](Read& its) { its.count = 1; }));
    EXPECT_TRUE(refused([&](Read& its) { its.vectors = pieces.data(); }));
    EXPECT_TRUE(refused([](Read& its) { its.offset = INT64_MAX - 4; }));
    EXPECT_TRUE(refused([](Read& its) { its.offset = UINT64_MAX; }));
    good.buffer = nullptr;
    good.length = 0;
    good.vectors = pieces.data();
    good.count = 2;
    EXPECT_TRUE(refused([](Read& its) { its.count = 0; }));
    EXPECT_TRUE(refused([](Read& its) { its.count = COMPLETION_PORT_VECTORS_MAX + 1; }));
    EXPECT_TRUE(refused([](Read& its) { its.length = 1; }));
    EXPECT_TRUE(refused([](Read& its) { its.offset = INT64_MAX - 1; }));
    pieces[1].iov_len = 0;
    EXPECT_TRUE(refused([](Read&) {}));
    pieces[1] = {nullptr, 1};
    EXPECT_TRUE(refused([](Read&) {}));
    const auto sync = form<Sync>(COMPLETION_PORT_KIND_FILE_SYNC, file.get());
    EXPECT_EQ(submit_changed(sync, [](Sync& its) { its.sync_flags = 2; }), -EINVAL);
    EXPECT_EQ(submit_changed(sync, [](Sync& its) { its.reserved = 1; }), -EINVAL);
    EXPECT_EQ(content(file.get(), 10), "bytes");
}

// Spec: CP-FILE-9
TEST_P(FileTest, RefusesWhatIsNoFile) {
    char byte = 0;
    auto read = form<Read>(COMPLETION_PORT_KIND_FILE_READ, -1);
    read.buffer = &byte;
    read.length = 1;
    auto write = form<Write>(COMPLETION_PORT_KIND_FILE_WRITE, -1);
    write.buffer = &byte;
    write.length = 1;
    auto sync = form<Sync>(COMPLETION_PORT_KIND_FILE_SYNC, -1);
    const auto expect_all = [&](int descriptor, int transfer_error, int sync_error) {
        for (auto* common : {&read.common, &write.common, &sync.common}) {
            common->descriptor = descriptor;
        }
        EXPECT_EQ(submit(read), transfer_error);
        EXPECT_EQ(submit(write), transfer_error);
        if (sync_error != 0) {
            EXPECT_EQ(submit(sync), sync_error);
        }
    };
    expect_all(-1, -EBADF, -EBADF);
    expect_all(closed_number(), -EBADF, -EBADF);
    Pair& sockets = keep(unix_pair());
    Pair& pipe = keep(pipe_pair());
    Descriptor& event = keep(ready_eventfd());
    for (const int descriptor : {sockets.ours.get(), pipe.ours.get(), event.get()}) {
        expect_all(descriptor, -ESPIPE, -EINVAL);
    }
    // They are as usable as before.
    Submission& receive = submit_receive(sockets.ours.get(), 2);
    write_all(sockets.theirs.get(), "on");
    EXPECT_EQ(receive.wait(), finished(2));
    const Descriptor device(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    expect_all(device.get(), -ESPIPE, -EINVAL);
    const Descriptor directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    expect_all(directory.get(), -EISDIR, 0);
}

// Spec: CP-FILE-9, CP-FILE-11
TEST_P(FileTest, ANumberMayNameAFileAndThenASocket) {
    Pair pair = unix_pair();
    const int number = pair.ours.get();
    EXPECT_EQ(submit_send(number, "x").wait(), finished(1));
    completion_port_remove(port(), number);
    {
        const Descriptor file = file_of("bytes");
        const Descriptor kept(::dup(number));
        ASSERT_EQ(::dup3(file.get(), number, O_CLOEXEC), number);
        EXPECT_EQ(submit_read(number, 5, 0).wait(), finished(5));
        EXPECT_EQ(operation(std::string(1, 'x')).add(port(), EPOLLIN, number), -EPERM);
        completion_port_remove(port(), number);
        ASSERT_EQ(::dup3(kept.get(), number, O_CLOEXEC), number);
    }
    Submission& receive = submit_receive(number, 2);
    write_all(pair.theirs.get(), "on");
    EXPECT_EQ(receive.wait(), finished(2));
    completion_port_remove(port(), number);
}

// Spec: CP-FILE-12
TEST_P(FileTest, RemovalWaitsForAllOfThem) {
    const Descriptor file = file_of(pattern(1 << 20));
    for (int round = 0; round < scaled(50, 10); ++round) {
        std::vector<Submission*> all;
        for (uint64_t i = 0; i < 32; ++i) {
            all.push_back(i % 2 == 0 ? &submit_read(file.get(), 100'000, i * 100)
                                     : &submit_write(file.get(), "x", i));
        }
        completion_port_remove(port(), file.get());
        for (Submission* each : all) EXPECT_TRUE(each->completed());
    }
}

// Spec: CP-FILE-12
TEST_P(FileTest, InACallbackRemovalReturnsAtOnce) {
    const Descriptor file = file_of(pattern(1 << 20));
    std::vector<Submission*> all;
    Gate removed;
    size_t completed_before = 0;
    struct Seen {
        std::vector<Submission*>* all;
        Gate* gate;
        size_t* completed;
    } seen{&all, &removed, &completed_before};
    Submission& last = read_of(file.get(), 1, 0).then([&](const auto&) {
        completion_port_remove(port(), file.get());
        EXPECT_EQ(completion_port_remove_async(
                      port(), file.get(),
                      [](void* context, SOCKET_HANDLE) {
                          auto& facts = *static_cast<Seen*>(context);
                          for (Submission* each : *facts.all) {
                              *facts.completed += each->completed() ? 1u : 0u;
                          }
                          facts.gate->open();
                      },
                      &seen),
                  0);
        EXPECT_EQ(read_of(file.get(), 1, 0).submit(port()), -ECANCELED);
    });
    for (uint64_t i = 0; i < 32; ++i) all.push_back(&submit_read(file.get(), 100'000, i));
    accepted(last);
    removed.wait();
    EXPECT_EQ(completed_before, all.size());
}

// Spec: CP-FILE-13
TEST_P(FileTest, TheEndWithManyUnderWay) {
    const Descriptor file = file_of(pattern(1 << 20));
    for (uint64_t i = 0; i < 200; ++i) {
        submit_read(file.get(), 100'000, i);
        submit_write(file.get(), pattern(10'000), i * 1000);
    }
    accepted(sync_of(file.get()));
    EXPECT_EQ(completion_port_shutdown(port()), 0);
    end();
    // The fixture looks whether each has ended once.
}

// Spec: CP-FILE-17
TEST_P(FileTest, WhatIsCachedIsReadAtOnce) {
    const std::string bytes = pattern(10'000);
    const Descriptor file = file_of(bytes);
    Submission& read = read_of(file.get(), 500, 100);
    iovec probe{read.buffer().data(), 500};
    // In containers some filesystems always say that they would have to wait.
    const bool at_once = ::preadv2(file.get(), &probe, 1, 100, RWF_NOWAIT) == 500;
    Submission& first = submit_read(file.get(), 1, 0);
    const pid_t worker = first.wait_for(1).thread;
    int code = -1;
    COMPLETION_PORT_COMPLETION record{};
    Submission& asks = read_of(file.get(), 1, 0).then([&](const auto&) {
        code = read.submit_inline(port(), record);
    });
    EXPECT_EQ(accepted(asks).wait_for(1).thread, worker);
    if (at_once) {
        EXPECT_EQ(code, 1);
        EXPECT_EQ(ending_of(record), finished(500));
        EXPECT_EQ(record.operation, read.id());
        EXPECT_EQ(read.buffer(), bytes.substr(100, 500));
        EXPECT_EQ(read.records(), 0u);
    } else {
        EXPECT_EQ(code, 0);
        EXPECT_EQ(read.wait(), finished(500));
    }
    completion_port_remove(port(), file.get());
}

}  // namespace
}  // namespace cport::test
