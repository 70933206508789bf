#include "runtime/port/descriptor_table.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <latch>
#include <thread>
#include <vector>

#include "platform/linux/linux_platform.h"
#include "runtime/operation/socket.h"
#include "tests/support/fault_platform.h"

namespace cport {
namespace {

class DescriptorTableTest : public ::testing::Test {
 protected:
    test::FaultPlatform platform_{platform::linux_platform(), test::Fault{}};
    platform::Memory& memory_ = platform_.platform().memory;
};

TEST_F(DescriptorTableTest, KnowsNumbersThatWereUsed) {
    DescriptorTable table(memory_);
    ASSERT_EQ(table.open(), 0);
    int error = 0;
    EXPECT_EQ(table.find(1000), nullptr);
    Socket* socket = table.find_or_create(1000, error);
    ASSERT_NE(socket, nullptr);
    EXPECT_EQ(socket->descriptor, 1000);
    EXPECT_EQ(table.find(1000), socket);
    EXPECT_EQ(table.find_or_create(1000, error), socket);
    EXPECT_EQ(table.find(-1), nullptr);
    EXPECT_TRUE(SocketWord::never_used(socket->word.load()));
}

// Spec: CP-BAD-9
TEST_F(DescriptorTableTest, RefusesNumbersBeyondItsEnd) {
    DescriptorTable table(memory_);
    ASSERT_EQ(table.open(), 0);
    int error = 0;
    Socket* last = table.find_or_create(DescriptorTable::kDescriptorsMax - 1, error);
    ASSERT_NE(last, nullptr);
    EXPECT_EQ(last->descriptor, DescriptorTable::kDescriptorsMax - 1);
    EXPECT_EQ(table.find_or_create(DescriptorTable::kDescriptorsMax, error), nullptr);
    EXPECT_EQ(error, -EMFILE);
    EXPECT_EQ(table.find(DescriptorTable::kDescriptorsMax), nullptr);
}

// Spec: CP-BAD-9, CP-BAD-10
TEST_F(DescriptorTableTest, WithoutMemoryItStaysAsItWas) {
    DescriptorTable table(memory_);
    ASSERT_EQ(table.open(), 0);
    int error = 0;
    Socket* known = table.find_or_create(3, error);
    platform_.exhaust_memory();
    EXPECT_EQ(table.find_or_create(DescriptorTable::kPageSockets, error), nullptr);
    EXPECT_EQ(error, -ENOMEM);
    EXPECT_EQ(table.find(DescriptorTable::kPageSockets), nullptr);
    EXPECT_EQ(table.find_or_create(3, error), known);

    DescriptorTable poor(memory_);
    EXPECT_EQ(poor.open(), -ENOMEM);
}

TEST_F(DescriptorTableTest, VisitsInPartsAndStartsAgain) {
    DescriptorTable table(memory_);
    ASSERT_EQ(table.open(), 0);
    int error = 0;
    table.find_or_create(0, error);
    table.find_or_create(5 * DescriptorTable::kPageSockets, error);
    std::vector<int> visited;
    auto few = [&visited](Socket& socket) {
        visited.push_back(socket.descriptor);
        return visited.size() % 100 != 0;
    };
    int from = 0;
    do {
        from = table.for_each(from, few);
    } while (from != 0);
    ASSERT_EQ(visited.size(), size_t{2 * DescriptorTable::kPageSockets});
    for (size_t i = 0; i < visited.size(); ++i) {
        const int page = i < DescriptorTable::kPageSockets ? 0 : 4 * DescriptorTable::kPageSockets;
        EXPECT_EQ(visited[i], page + static_cast<int>(i));
    }
}

// The page of the thread that came second goes back.
TEST_F(DescriptorTableTest, ThreadsThatRaceForAPageShareIt) {
    constexpr int kThreads = 3;
    constexpr int kPages = 200;
    {
        DescriptorTable table(memory_);
        ASSERT_EQ(table.open(), 0);
        std::vector<std::vector<Socket*>> found(kThreads);
        std::latch start(kThreads);
        std::vector<std::thread> threads;
        for (auto& own : found) {
            threads.emplace_back([&table, &start, &own] {
                start.arrive_and_wait();
                for (int page = 0; page < kPages; ++page) {
                    int error = 0;
                    own.push_back(
                        table.find_or_create(page * DescriptorTable::kPageSockets + 7, error));
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        for (const auto& own : found) EXPECT_EQ(own, found.front());
        EXPECT_EQ(platform_.holdings().memory_blocks, 1 + kPages);
    }
    EXPECT_TRUE(platform_.holdings().empty());
}

}  // namespace
}  // namespace cport
