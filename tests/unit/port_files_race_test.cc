// Submissions, cancels, removals and the end of a port, at once: each operation on a file ends
// exactly once, whatever overtakes what.
#include <array>
#include <atomic>
#include <cerrno>
#include <random>
#include <thread>
#include <vector>

#include "tests/contract/engine_under_test.h"
#include "tests/unit/files_fixture.h"

namespace cport::test {
namespace {

// What one thread has submitted: it lives until the port is gone.
struct Counted {
    std::atomic<int> accepted{0};
    std::atomic<int> ended{0};
    std::atomic<int> strange{0};

    static void on_complete(void* context, const COMPLETION_PORT_COMPLETION* record) {
        auto& self = *static_cast<Counted*>(context);
        const bool known =
            record->error == 0 || record->error == -ECANCELED || record->error == -ETIMEDOUT;
        if (!known) self.strange.fetch_add(1);
        self.ended.fetch_add(1);
    }
};

class FilesRace : public ::testing::TestWithParam<uint32_t>, protected FilesFixture {
 protected:
    static constexpr int kSubmitters = 2;

    void submit_some(unsigned seed, Counted& counted, int operations) {
        std::mt19937 random(seed);
        std::vector<char> bytes(kReadBytes);
        std::array<char, 8> little{};
        uint64_t id = 0;
        for (int i = 0; i < operations; ++i) {
            COMPLETION_PORT_FILE_READ_OPERATION form{};
            const bool reads = random() % 3 != 0;
            const bool large = reads && random() % 2 == 0;
            form.common.size = sizeof(form);
            form.common.kind = reads ? uint32_t{COMPLETION_PORT_KIND_FILE_READ}
                                     : uint32_t{COMPLETION_PORT_KIND_FILE_WRITE};
            form.common.descriptor = file_.get();
            form.common.on_complete = &Counted::on_complete;
            form.common.context = &counted;
            // Nobody looks at the bytes, so all may share them where they are only written from.
            form.buffer = reads ? static_cast<void*>(room_.data() + random() % 4096 * 64)
                                : static_cast<void*>(little.data());
            form.length = large ? kReadBytes : 8;
            form.offset = random() % 10'000;
            if (!reads) form.buffer = zeros_.data();
            counted.accepted.fetch_add(1);
            const int code = completion_port_submit(port_, &form.common, &id, nullptr);
            if (code != 0) {
                counted.accepted.fetch_sub(1);
                EXPECT_TRUE(code == -ECANCELED || code == -ESHUTDOWN) << code;
            } else if (random() % 4 == 0) {
                const int asked = completion_port_cancel(port_, id);
                EXPECT_TRUE(asked == 0 || asked == -ENOENT || asked == -ESHUTDOWN) << asked;
            }
        }
    }

    std::array<char, 8> zeros_{};
    std::vector<char> room_ = std::vector<char>(4096 * 64 + kReadBytes);
};
INSTANTIATE_TEST_SUITE_P(Workers, FilesRace, ::testing::Values(1u, 3u));

// Spec: CP-FILE-14
TEST_P(FilesRace, EachEndsOnce) {
    const auto seed = std::random_device()();
    RecordProperty("seed", std::to_string(seed));
    for (int round = 0; round < scaled(60, 25); ++round) {
        options_.workers = GetParam();
        open();
        std::array<Counted, kSubmitters> counted;
        std::vector<std::thread> threads;
        completion_port_inc_ref(port_);
        for (int i = 0; i < kSubmitters; ++i) {
            threads.emplace_back([this, &counted, i, seed, round] {
                submit_some(seed + static_cast<unsigned>(round * 7 + i),
                            counted[static_cast<size_t>(i)], 100);
            });
        }
        threads.emplace_back([this] {
            for (int i = 0; i < 10; ++i) completion_port_remove(port_, file_.get());
        });
        std::atomic<int> removals{0};
        threads.emplace_back([this, &removals] {
            for (int i = 0; i < 10; ++i) {
                removals.fetch_add(1);
                const int code = completion_port_remove_async(
                    port_, file_.get(),
                    [](void* context, SOCKET_HANDLE) {
                        static_cast<std::atomic<int>*>(context)->fetch_sub(1);
                    },
                    &removals);
                if (code != 0) removals.fetch_sub(1);
            }
        });
        if (round % 2 == 0) threads.emplace_back([this] { completion_port_shutdown(port_); });
        for (std::thread& thread : threads) thread.join();
        completion_port_dec_ref(port_);
        end();
        for (const Counted& each : counted) {
            EXPECT_EQ(each.ended.load(), each.accepted.load()) << "seed " << seed;
            EXPECT_EQ(each.strange.load(), 0) << "seed " << seed;
        }
        EXPECT_EQ(removals.load(), 0) << "seed " << seed;
    }
}

}  // namespace
}  // namespace cport::test
