#include "tests/contract/simulated/excluded.h"

namespace cport::test {
namespace {

constexpr const char* kNoAncillary = "messages bring nothing beside their bytes there";
constexpr const char* kNoDevices = "it has no FIFOs, terminals and timers";
constexpr const char* kProcess = "it looks at how Linux sleeps, opens or remembers, not at a port";

constexpr Excluded kExcluded[] = {
    {"shipped_module", kWholeFamily, "it loads the shared library, which makes its own calls"},
    {"create", "Engine/CreateTest.OpensOneEpollInstanceForEachWorkerThatItStarts/*", kProcess},
    {"create", "Engine/CreateTest.ManyCyclesOfCreateAndDestroyLeaveTheProcessAsItWas/*", kProcess},
    {"device", "Engine/DeviceTest.ReceivesFromAPipeThatBlocksAndFromAFifo/*", kNoDevices},
    {"device", "Engine/DeviceTest.SendsAllToAPipeThatBlocksAndToAFifo/*", kNoDevices},
    {"device", "Engine/DeviceTest.CountsOfEventsAndTimers/*", kNoDevices},
    {"device", "Engine/DeviceTest.ATerminalHasToBeNonBlocking/*", kNoDevices},
    {"distribute", "Engine/DistributeTest.ListenersThatShareAnAddressServeOneWorkerEach/*",
     "no two listeners share an address there"},
    {"fairness", "Engine/FairnessTest.TransferOfManyMebibytesLetsOthersIn/*",
     "no receive buffer of 16 MiB there"},
    {"kernel_behaviour",
     "Engine/KernelBehaviourTest.PassedDescriptorsMakeAShortReadThatLeavesBytes/*", kNoAncillary},
    {"message", "Engine/MessageTest.CarriesAddresses/*", kNoAncillary},
    {"message", "Engine/MessageTest.CarriesDescriptorsThatAreCloseOnExec/*", kNoAncillary},
    {"message", "Engine/MessageTest.TellsAboutThePacket/*", kNoAncillary},
    {"message", "Engine/MessageTest.ALongSendCarriesItsDescriptorOnce/*", kNoAncillary},
    {"message", "Engine/MessageTest.ReadsTheQueueOfErrors/*", kNoAncillary},
    {"message", "Engine/MessageTest.AnEmptyQueueOfErrorsHidesNoBytes/*", kNoAncillary},
    {"message", "Engine/MessageTest.PeeksAndTellsWhatDidNotFit/*", "nothing peeks there"},
    {"options", "OptionsPortTest.AnIdleWorkerSleepsAsLongAsItWasTold", kProcess},
    {"read", "Engine/ReadTest.ReadinessWithNothingToReadIsSaidAsSpurious/*",
     "its unix sockets have no urgent bytes"},
    {"read", "Engine/ReadTest.BytesAfterPassedDescriptorsAreFound/*", kNoAncillary},
    {"read", "Engine/ReadTest.BytesAfterALongReadThatEndedAtAMebibyteAreFound/*",
     "no receive buffer of 8 MiB there"},
    {"readiness", "Engine/ReadinessTest.EventfdAndTimerfd/*", kNoDevices},
    {"readiness", "Engine/ReadinessTest.TerminalAndItsHangUp/*", kNoDevices},
};

}  // namespace

std::span<const Excluded> excluded() { return kExcluded; }

}  // namespace cport::test
