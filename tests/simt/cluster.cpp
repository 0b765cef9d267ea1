// SPDX-License-Identifier: Apache-2.0
// Blocks of a cluster run together. Their barrier is split in two, arrive and wait, and expects all
// threads that have not left the kernel. A block may use a neighbour's shared memory from its first
// cluster_wait on (before, the neighbour may not have started) and until the neighbour leaves. A
// mailbox carries its senders' knowledge to those who wait for it.
#include "simt/machine.h"

namespace dovetail::simt {
namespace {

void finish_if_all_arrived(Cluster& cluster) {
  Meeting& barrier = cluster.barrier;
  if (barrier.arrived == 0 || barrier.arrived + cluster.left != cluster.threads) return;
  cluster.known = barrier.gathered;
  ++cluster.phases;
  for (Thread* thread : barrier.waiting) machine.ready.push_back(thread);
  barrier = {};
}

Mailbox& mailbox_of(const void* box, const char* what, Site site) {
  Thread& self = *machine.current;
  const auto found = self.block->cluster.mailboxes.find(box);
  if (found == self.block->cluster.mailboxes.end()) {
    fail(what, " at ", site, ": ", self, " uses a mailbox that nobody has opened");
  }
  return found->second;
}

void deliver_if_full(Mailbox& mailbox) {
  if (!mailbox.full()) return;
  for (Thread* thread : mailbox.senders.waiting) machine.ready.push_back(thread);
  mailbox.senders.waiting.clear();
}

}  // namespace

uint32_t cluster_rank() {
  return machine.current->block->rank;
}

void cluster_arrive(Site site) {
  Thread& self = *machine.current;
  Cluster& cluster = self.block->cluster;
  if (self.cluster_arrivals != self.cluster_waits) {
    fail("cluster_arrive at ", site, ": ", self, " has not waited since it arrived last");
  }
  ++self.cluster_arrivals;
  self.at_cluster_arrival = self.known;
  gather(cluster.barrier, self);
  ++cluster.barrier.arrived;
  finish_if_all_arrived(cluster);
}

void cluster_wait(Site site) {
  Thread& self = *machine.current;
  Cluster& cluster = self.block->cluster;
  if (self.cluster_arrivals == self.cluster_waits) {
    fail("cluster_wait at ", site, ": ", self, " has not arrived");
  }
  if (cluster.phases < ++self.cluster_waits) {
    cluster.barrier.call = {"cluster_wait", 0,    0,   cluster.threads - cluster.left,
                            false,          true, site};
    cluster.barrier.waiting.push_back(&self);
    suspend();
  }
  const bool learnt_nothing = self.known == self.at_cluster_arrival;  // the usual case
  self.known = learnt_nothing ? cluster.known : merged(self.known, cluster.known);
}

void leave_cluster(Thread& gone) {
  Cluster& cluster = gone.block->cluster;
  ++cluster.left;
  finish_if_all_arrived(cluster);
  const bool last = gone.block->done == gone.block->threads.size();
  if (last && cluster.blocks.size() > 1) check_neighbours_done(*gone.block);
}

void* cluster_address(const void* own, uint32_t rank, Site site) {
  const Thread& self = *machine.current;
  const auto& blocks = self.block->cluster.blocks;
  const size_t window = offset_of(own) / kSharedWindow;
  if (window != self.block->rank || rank >= blocks.size()) {
    fail("distributed shared memory at ", site, ": ", self, " uses ", own, " of block ", rank,
         " of a cluster of ", blocks.size());
  }
  if (self.cluster_waits == 0) {
    fail("a cluster barrier is missing: at ", site, ", ", self, " uses shared memory of block ",
         blocks[rank].number, ", which may not have started");
  }
  if (blocks[rank].done == blocks[rank].threads.size()) {
    fail("a cluster barrier is missing: at ", site, ", ", self, " uses shared memory of block ",
         blocks[rank].number, ", which has left the kernel");
  }
  return arena + rank * kSharedWindow + offset_of(own) % kSharedWindow;
}

void open_mailbox(const void* box, Site) {
  machine.current->block->cluster.mailboxes[box] = {};
}

void expect_mail(const void* box, uint32_t bytes, Site site) {
  Mailbox& mailbox = mailbox_of(box, "expect_mail", site);
  mailbox.expected = bytes;
  mailbox.told = true;
  deliver_if_full(mailbox);
}

void post(const void* box, uint32_t bytes, Site site) {
  Mailbox& mailbox = mailbox_of(box, "post", site);
  mailbox.arrived += bytes;
  mailbox.senders.arrived = mailbox.arrived;
  if (mailbox.told && mailbox.arrived > mailbox.expected) {
    fail("post at ", site, ": ", *machine.current, " sends more than the ", mailbox.expected,
         " bytes that the mailbox expects");
  }
  gather(mailbox.senders, *machine.current);
  deliver_if_full(mailbox);
}

void wait_for_mail(const void* box, Site site) {
  Thread& self = *machine.current;
  Mailbox& mailbox = mailbox_of(box, "wait_for_mail", site);
  if (!mailbox.full()) {
    mailbox.senders.call = {"wait_for_mail", 0, 0, mailbox.expected, false, true, site};
    mailbox.senders.waiting.push_back(&self);
    suspend();
  }
  self.known = merged(self.known, mailbox.senders.gathered);
}

}  // namespace dovetail::simt
