# find_package(alps [COMPONENTS emu]): alps::alps, alps::alps-static, and alps::emu, if the emulator is
# installed.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/alps-targets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/emu-targets.cmake OPTIONAL)

foreach(component IN LISTS alps_FIND_COMPONENTS)
    if(TARGET alps::${component})
        set(alps_${component}_FOUND TRUE)
    elseif(alps_FIND_REQUIRED_${component})
        set(alps_FOUND FALSE)
        set(alps_NOT_FOUND_MESSAGE "ALPS is installed without its component ${component}")
    endif()
endforeach()
